"""The describer of each method that `aggregate.method` of params.yaml names; only the one in use is imported."""

from pathlib import Path
from typing import Any

import torch

from pipeline.aggregation.describers.describer import Describer
from pipeline.aggregation.params import DESCRIBERS, METHODS, MethodParameters
from pipeline.contracts.models import load_model
from pipeline.stage.errors import ParameterError
from pipeline.stage.named import Named
from pipeline.stage.parameters import validate

CLASSES: Named[type[Describer]] = Named("pipeline.aggregation.describers", DESCRIBERS)


def describer_class(method: str) -> type[Describer]:
    """The class of a method.

    Raises:
        ParameterError: there is none.
    """
    if method not in CLASSES:
        raise ParameterError(f"aggregate.method: {method!r} has no describer; there are: {', '.join(CLASSES)}")
    return CLASSES[method]


def new_describer(method: str, parameters: MethodParameters) -> Describer:
    """A describer that has not learned yet."""
    return describer_class(method)(method, parameters)


def load_describer(folder: Path, device: torch.device) -> tuple[Describer, dict[str, Any]]:
    """The describer that the learn stage wrote, and its card.

    Raises:
        ModelError, ShardError: missing or damaged.
    """
    tensors, card = load_model(folder)
    method = card["method"]
    describer = new_describer(method, validate(METHODS[method], card["parameters"], f"aggregate.{method}", str(folder)))
    describer.restore(tensors, card, device)
    return describer, card
