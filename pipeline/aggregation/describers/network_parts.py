"""Parts of the active network that a describer takes over into its model: its classifier, and heads that came with its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.contracts.models import Learned, State, load_tensors
from pipeline.networks.classifier import Classifier
from pipeline.networks.heads import Heads, load_classifier, load_heads
from pipeline.networks.region_head import RegionHead
from pipeline.networks.region_projection import PROJECTION, SHIFT, WEIGHT, RegionProjection
from pipeline.networks.registry import CARD
from pipeline.networks.salad_head import BACKBONE, HEAD, SALAD, SaladHead
from pipeline.stage.errors import ModelError
from pipeline.stage.tables import read_json


@dataclass(frozen=True)
class ClassifierPart(Learned):
    """A network's classifier as a learned part of a describer."""

    architecture: str
    module: Classifier

    def state(self) -> State:
        card = {"kind": type(self).__name__, "architecture": self.architecture, "classes": self.module.classes}
        return self.module.state_dict(), card

    @classmethod
    def from_state(cls, tensors: Mapping[str, torch.Tensor], card: Mapping[str, Any]) -> Self:
        return cls(card["architecture"], load_classifier(card["architecture"], dict(tensors)))


def classifier_of(method: str, folder: Path, choice: NetworkChoice) -> ClassifierPart:
    """The classifier of the network in a folder.

    Args:
        method: that needs it, for the message.
        choice: the section `network` that the maps were extracted with.

    Raises:
        ModelError: the network came without, or the maps are not those that it reads.
    """
    heads = _heads(method, folder, choice)
    if heads.classifier is None:
        raise ModelError(f"aggregate.{method}: {folder} has no classifier; use weights that hold one, or a step of classification (finetune)")
    return ClassifierPart(read_json(folder / CARD)["architecture"], heads.classifier)


def region_head_of(method: str, folder: Path, choice: NetworkChoice) -> RegionHead:
    """The region head of the network in a folder.

    Raises:
        ModelError: none was trained, or the maps are not those that it reads.
    """
    heads = _heads(method, folder, choice)
    if heads.descriptor is None:
        raise ModelError(f"aggregate.{method}: {folder} has no region head; set network.name to a step region_descriptor of `finetune`")
    return heads.descriptor


def projection_of(method: str, parameter: str, folder: Path, choice: NetworkChoice) -> RegionProjection:
    """The projection of vectors that came with the network in a folder.

    Args:
        parameter: of the method, that asks for it.

    Raises:
        ModelError: none did, or the maps are not those that it reads.
    """
    _refuse_other_layers(method, folder, choice)
    if not (folder / PROJECTION).exists():
        raise ModelError(f"aggregate.{method}.{parameter}: {folder} has no projection; use weights that hold {SHIFT} and {WEIGHT}, or pca_whitening")
    tensors = load_tensors(folder / PROJECTION)
    return RegionProjection.from_state(tensors, {"kind": RegionProjection.__name__})


def salad_head_of(method: str, folder: Path) -> SaladHead:
    """The head of SALAD that came with the network in a folder.

    Raises:
        ModelError: none did.
    """
    if not (folder / SALAD).exists():
        raise ModelError(f"aggregate.{method}: {folder} has no head of SALAD; use weights that hold {HEAD}* next to {BACKBONE}*")
    return SaladHead.from_state(load_tensors(folder / SALAD), {})


def _heads(method: str, folder: Path, choice: NetworkChoice) -> Heads:
    heads = load_heads(folder)
    _refuse_other_layers(method, folder, choice)
    return heads


def _refuse_other_layers(method: str, folder: Path, choice: NetworkChoice) -> None:
    default = read_json(folder / CARD)["default_layer"]
    if list(choice.layers) not in ([], [default]) or choice.pooled:
        raise ModelError(
            f"network.layers: aggregate.{method} reads maps of the network's last layer; set it to [{default}], and network.pooled to false"
        )
