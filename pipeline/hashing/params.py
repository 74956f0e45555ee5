"""The section `hash` of params.yaml: the method in use, and one section per method."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import PARAMS_FILE, Section, load_section, read_section


class HashParameters(Section):
    """What every method has."""

    bits: int = Field(512, ge=8, le=65536, description="length of a code, a multiple of 8")
    seed: int = Field(0, ge=0, le=2**31 - 1000)
    learning_images: int | None = Field(100_000, ge=2, description="held-out descriptors learned from, drawn evenly; null: all")

    @field_validator("bits")
    @classmethod
    def _whole_bytes(cls, bits: int) -> int:
        if bits % 8:
            raise ValueError("codes are packed into bytes, so bits must be a multiple of 8")
        return bits


class ItqParameters(HashParameters):
    """Iterative quantisation."""

    iterations: int = Field(50, ge=1, le=10000)


class KMeansHashingParameters(HashParameters):
    """K-means hashing."""

    subspace_bits: int = Field(4, ge=1, le=8, description="of each product subspace; divides bits")
    affinity: float = Field(10.0, ge=0, description="weight of the affinity error")
    iterations: int = Field(50, ge=1, le=10000)

    @model_validator(mode="after")
    def _whole_subspaces(self) -> Self:
        if self.bits % self.subspace_bits:
            raise ValueError(f"bits {self.bits} is no multiple of subspace_bits {self.subspace_bits}")
        return self


class BinaryAutoencoderParameters(HashParameters):
    """Relaxed binary autoencoder."""

    encoding: float = Field(1.0, gt=0, description="weight of the distance between codes and their linear encoding")
    decay: float = Field(1.0, gt=0, description="weight of the squared norms of encoder and decoder")
    iterations: int = Field(50, ge=1, le=10000)


class ThresholdingParameters(HashParameters):
    """One bit per dimension."""

    level: Literal["median", "mean"] = Field("median", description="of each dimension on the held-out set, above which its bit is 1")


class NoHashParameters(Section):
    """Real-valued descriptors are searched."""


NO_HASH = "none"
HASH_METHODS: dict[str, type[Section]] = {
    NO_HASH: NoHashParameters,
    "itq": ItqParameters,
    "kmeans_hashing": KMeansHashingParameters,
    "binary_autoencoder": BinaryAutoencoderParameters,
    "thresholding": ThresholdingParameters,
}
"""The parameters of every method by its name."""
HASHERS = {
    "itq": "itq:ITQ",
    "kmeans_hashing": "kmeans_hashing:KMeansHashing",
    "binary_autoencoder": "binary_autoencoder:RelaxedBinaryAutoencoder",
    "thresholding": "thresholding:Thresholding",
}
"""The module of pipeline/hashing/ and the class in it that computes each method."""


def load_hash(file: Path | None = None) -> tuple[str, HashParameters | None]:
    """The method in use and its parameters; `none` has none.

    Raises:
        ParameterError: unknown method or parameter.
    """
    method = read_section("hash.method", file)
    if method not in HASH_METHODS:
        raise ParameterError(f"{file or PARAMS_FILE}: hash.method: {method!r} is unknown; allowed: {', '.join(HASH_METHODS)}")
    parameters = load_section(HASH_METHODS[method], f"hash.{method}", file)
    return method, parameters if isinstance(parameters, HashParameters) else None
