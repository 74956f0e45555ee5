"""The sections networks.NETWORK of params.yaml: which architecture with which weights."""

from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from pydantic import Field, model_validator

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
if TYPE_CHECKING:
    ArchitectureName: TypeAlias = str
else:
    ArchitectureName = Literal[tuple(ARCHITECTURES)]
PreprocessingName = Literal["torchvision", "caffe", "tensorflow"]


class NetworkSource(Section):
    """Where one network's weights come from, and what input they were trained on."""

    architecture: ArchitectureName
    weights: Literal["package", "torchvision", "file", "url"] = Field(
        description="an installed package, torchvision's address, a local file, any address"
    )
    location: str | None = Field(None, description="for file: its path, absolute or from RETRIEVAL_DATA; for url: the address")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{8,64}$", description="digest of the file, or its beginning")
    preprocessing: PreprocessingName | None = Field(None, description="the input convention; the architecture's own where nothing is said")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.weights in ("file", "url") and not (self.location and self.sha256):
            raise ValueError(f"weights: {self.weights} needs location and sha256")
        if self.weights in ("package", "torchvision") and self.location:
            raise ValueError(f"weights: {self.weights} takes no location")
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
