"""What the registry needs to know of an architecture; a new network is one module that makes one of these."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from pipeline.networks.classifier import ClassifierForm


def _unchanged(network: nn.Module) -> nn.Module:
    return network


@dataclass(frozen=True)
class Architecture:
    """The convolutional part of a network.

    Attributes:
        build: makes the module; its keys are those of the published weights, less `prefix` and the classifier.
        classifier: how it classifies from the maps of its last layer.
        frozen: the last layer that fine-tuning leaves as it is (paper 4, §3.1.2).
        layers: names of the field to names in the module ('conv5_3' to '29'); a container's name means its last operation.
        default: the layer that is used when none is named.
        prefix: what the published keys start with.
        url: torchvision's weights.
        package: gives the weights file of an installed package.
        licence: of the weights of `url` or `package`; None where the package states none.
        trained_on: training sets of those weights.
        preprocessing: a name of PREPROCESSINGS.
        finish: what is done to the module once its weights are loaded.
    """

    build: Callable[[], nn.Module]
    layers: Mapping[str, str]
    default: str
    classifier: ClassifierForm
    frozen: str
    prefix: str = ""
    url: str | None = None
    package: Callable[[], Path] | None = None
    licence: str | None = "BSD-3-Clause"
    trained_on: tuple[str, ...] = ("imagenet-1k",)
    preprocessing: str = "torchvision"
    finish: Callable[[nn.Module], nn.Module] = field(default=_unchanged)
