"""The sections `network` (which network, which layers) and `extract` (how maps are computed and stored) of params.yaml."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.contracts.parameters import Section


class NetworkChoice(Section):
    """The active network."""

    name: str = Field(min_length=1, description="a name under `networks`")
    layers: tuple[str, ...] = Field((), strict=False, description="layers whose maps are concatenated; empty: the network's default layer")
    pooled: bool = Field(False, description="max-pool each layer 2×2 with stride 2 (hyper-columns of paper 3)")


class ExtractParameters(Section):
    """Everything here changes the numbers."""

    scales: tuple[float, ...] = Field((1.0,), strict=False, description="factors on the stored image's size")
    precision: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of the network's arithmetic")
    storage: Literal["float16", "float32"] = Field("float16", description="of the maps in the shards")
    shard_mib: int = Field(64, ge=1, le=1024, description="size of a shard before compression")

    @field_validator("scales")
    @classmethod
    def _scales(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if not scales or any(not 0.05 <= scale <= 4 for scale in scales) or len(set(scales)) < len(scales):
            raise ValueError("expected distinct factors between 0.05 and 4")
        return scales
