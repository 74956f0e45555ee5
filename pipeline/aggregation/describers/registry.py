"""The describer of each method that `aggregate.method` of params.yaml names; only the one in use is imported."""

from pathlib import Path
from typing import Any

import torch

from pipeline.aggregation.describers.describer import Describer
from pipeline.aggregation.params import METHODS, MethodParameters
from pipeline.contracts.models import load_model
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import validate


def describer_class(method: str) -> type[Describer]:  # noqa: PLR0911 -- one for each kind of method
    """The class of a method.

    Raises:
        ParameterError: there is none.
    """
    match method:
        case "mac" | "spoc" | "gem" | "crow":
            from pipeline.aggregation.describers.global_pooling import GlobalPooling

            return GlobalPooling
        case "rmac":
            from pipeline.aggregation.describers.regional_max import RegionalMax

            return RegionalMax
        case "clusters":
            from pipeline.aggregation.describers.activation_clusters import ActivationClusters

            return ActivationClusters
        case "selective":
            from pipeline.aggregation.describers.selective_features import SelectiveFeatures

            return SelectiveFeatures
        case "patches":
            from pipeline.aggregation.describers.multi_resolution_patches import MultiResolutionPatches

            return MultiResolutionPatches
        case "class_scores":
            from pipeline.aggregation.describers.class_scores import ClassScores

            return ClassScores
        case "region_descriptor":
            from pipeline.aggregation.describers.region_descriptor import RegionDescriptor

            return RegionDescriptor
        case "bag_of_words":
            from pipeline.aggregation.describers.bag_of_words import BagOfWords

            return BagOfWords
        case _:
            raise ParameterError(f"aggregate.method: {method!r} has no describer; there are: {', '.join(METHODS)}")


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
