"""The sections networks.NETWORK of params.yaml: which architecture with which weights."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.networks.training_sets import checked
from pipeline.stage.parameters import Section, validate

ARCHITECTURES = {
    "alexnet": "alexnet:ALEXNET",
    "vgg16": "vgg:VGG16",
    "vgg19": "vgg:VGG19",
    "resnet50": "resnet:RESNET50",
    "resnet101": "resnet:RESNET101",
    "resnet152": "resnet:RESNET152",
    "squeezenet1_1": "squeezenet:SQUEEZENET1_1",
    "efficientnet_lite0": "efficientnet_lite0:EFFICIENTNET_LITE0",
}
"""The module of pipeline/networks/ and the `Architecture` in it, by name."""
TIMM = "timm/"
"""What the names of the library timm's architectures start with."""


def is_timm(architecture: str) -> bool:
    """Whether an architecture is one of timm's."""
    return architecture.startswith(TIMM)


def _known(name: str) -> str:
    if name not in ARCHITECTURES and not re.fullmatch(r"timm/\w+(\.\w+)?", name, re.ASCII):
        raise ValueError(f"unknown; allowed: {', '.join(ARCHITECTURES)}, or timm/NAME with a name of the library timm")
    return name


ArchitectureName = Annotated[str, AfterValidator(_known)]
TrainingSetName = Annotated[str, AfterValidator(checked)]
PreprocessingName = Literal["torchvision", "caffe", "tensorflow"]


class NetworkSource(Section):
    """Where one network's weights come from, and what input they were trained on."""

    architecture: ArchitectureName = Field(description="one of `retrieval networks`, or timm/NAME; `retrieval networks timm/NAME` lists its layers")
    weights: Literal["package", "torchvision", "timm", "file", "url"] = Field(
        description="an installed package, torchvision's address, the address that timm names, a local file, any address"
    )
    location: str | None = Field(None, description="for file: its path, absolute or from RETRIEVAL_DATA; for url: the address")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{8,64}$", description="digest of the file, or its beginning")
    preprocessing: PreprocessingName | None = Field(None, description="the input convention; the architecture's own where nothing is said")
    trained_on: tuple[TrainingSetName, ...] | None = Field(
        None, strict=False, description="training sets of the weights, by the names in docs/networks.md, or own/NAME; null: what their source says"
    )
    licence: str | None = Field(None, description="of the weights; null: what their source says")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.weights in ("file", "url") and not (self.location and self.sha256):
            raise ValueError(f"weights: {self.weights} needs location and sha256")
        if self.weights in ("package", "torchvision", "timm") and self.location:
            raise ValueError(f"weights: {self.weights} takes no location")
        if self.weights == "timm" and not (is_timm(self.architecture) and self.sha256):
            raise ValueError("weights: timm needs an architecture timm/NAME, and sha256")
        if self.weights in ("package", "torchvision") and is_timm(self.architecture):
            raise ValueError(f"weights of {self.architecture} come by timm, file or url, not {self.weights}")
        return self


class MemberSource(NetworkSource):
    """One of several networks whose maps are concatenated."""

    layers: tuple[str, ...] = Field((), strict=False, description="layers whose maps are concatenated; empty: the network's default layer")


class ConcatenatedSource(Section):
    """Several networks as one."""

    members: tuple[MemberSource, ...] = Field(strict=False, min_length=2)


def network_from(section: object, path: str, origin: str) -> NetworkSource | ConcatenatedSource:
    """A section networks.NETWORK: one network, or `members`.

    Raises:
        ParameterError: something in it does not fit.
    """
    if isinstance(section, dict) and "members" in section:
        return validate(ConcatenatedSource, section, path, origin)
    return validate(NetworkSource, section, path, origin)
