"""What training needs to know of an architecture of the project or of timm: how it classifies, and which layers can keep their weights."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.networks.classifier import ClassifierForm
from pipeline.networks.params import is_timm
from pipeline.networks.registry import find_architecture


@dataclass(frozen=True)
class Trainable:
    """Of an architecture.

    Attributes:
        classifier: how it classifies from the maps of its last layer.
        layers: names of layers to the names of their modules.
        frozen: the last layer that training leaves as it is, where nothing is said.
    """

    classifier: ClassifierForm
    layers: Mapping[str, str]
    frozen: str


def trainable(architecture: str, channels: int) -> Trainable:
    """Of an architecture whose last maps have so many channels.

    Raises:
        ModelError: there is no such architecture.
    """
    if not is_timm(architecture):
        own = find_architecture(architecture)
        return Trainable(own.classifier, own.layers, own.frozen)
    from pipeline.networks import timm_layers

    stages = timm_layers.stages(architecture)
    return Trainable(timm_layers.classifier_form(architecture, channels), dict(zip(stages, stages, strict=True)), stages[(len(stages) - 1) // 2])
