"""The hash function of each method that `hash.method` of params.yaml names; only the one in use is imported."""

from pathlib import Path

import torch

from pipeline.contracts.models import load_model
from pipeline.hashing.hasher import Hasher
from pipeline.hashing.params import HASHERS, HashParameters
from pipeline.stage.errors import ModelError
from pipeline.stage.named import Named

CLASSES: Named[type[Hasher]] = Named("pipeline.hashing", HASHERS)


def new_hasher(method: str, parameters: HashParameters) -> Hasher:
    """A hash function of a method of params.yaml that has not learned yet."""
    return CLASSES[method](**parameters.model_dump(exclude={"learning_images"}))


def hasher_class(method: str) -> type[Hasher]:
    """The class of a method.

    Raises:
        ModelError: there is none.
    """
    if method not in CLASSES:
        raise ModelError(f"hash.method: {method!r} has no hash function; there are: {', '.join(CLASSES)}")
    return CLASSES[method]


def load_hasher(folder: Path, device: torch.device) -> Hasher:
    """The hash function that a folder holds.

    Raises:
        ModelError, ShardError: there is none, or it is damaged.
    """
    tensors, card = load_model(folder)
    return hasher_class(card["method"]).from_state({name: value.to(device) for name, value in tensors.items()}, card)
