"""The section `aggregate` of params.yaml: the method in use, and one section per method."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.contracts.errors import ParameterError
from pipeline.contracts.parameters import PARAMS_FILE, Section, load_section, read_section

WhiteningName = Literal["none", "pca", "pca_whitening"]


class WhitenedParameters(Section):
    """What every method may do to its final vector."""

    whitening: WhiteningName = "none"
    dimensions: int | None = Field(None, ge=1, description="of the final vector; null: as many as the held-out set bears")
    shrinkage: float = Field(0.0, ge=0, le=1, description="share of the mean eigenvalue mixed into the spectrum")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.whitening == "none" and self.dimensions is not None:
            raise ValueError("dimensions needs whitening: pca or pca_whitening")
        return self


class MacParameters(WhitenedParameters):
    pass


class SpocParameters(WhitenedParameters):
    centre_prior: bool = Field(False, description="weigh locations by a Gaussian around the map's centre")


class GemParameters(WhitenedParameters):
    power: float = Field(3.0, gt=0, le=100)


class CrowParameters(WhitenedParameters):
    spatial_power: float = Field(0.5, gt=0, le=4, description="exponent of the normalised spatial weights")


class RmacParameters(WhitenedParameters):
    levels: int = Field(3, ge=1, le=10)
    overlap: float = Field(0.4, ge=0, lt=1, description="wanted overlap of neighbouring regions along the long side")
    whole_map: bool = Field(False, description="add the whole map as a region")
    regional_whitening: WhiteningName = "pca_whitening"
    regional_dimensions: int | None = Field(None, ge=1)
    regional_shrinkage: float = Field(0.0, ge=0, le=1)


METHODS: dict[str, type[WhitenedParameters]] = {
    "mac": MacParameters,
    "spoc": SpocParameters,
    "gem": GemParameters,
    "crow": CrowParameters,
    "rmac": RmacParameters,
}


def load_method(file: Path | None = None) -> tuple[str, WhitenedParameters]:
    """The method in use and its parameters.

    Raises:
        ParameterError: unknown method or parameter.
    """
    method = read_section("aggregate.method", file)
    if method not in METHODS:
        raise ParameterError(f"{file or PARAMS_FILE}: aggregate.method: {method!r} is unknown; allowed: {', '.join(METHODS)}")
    return method, load_section(METHODS[method], f"aggregate.{method}", file)
