"""The sections `network` (which network, which layers) and `extract` (how maps are computed and stored) of params.yaml."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.stage.parameters import Section

PatchLayout = Literal["squares", "grid"]


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
    patch_levels: int = Field(0, ge=0, le=10, description="0: whole maps; L: in their place the pooled patches of levels 1 to L (paper 1)")
    patch_layout: PatchLayout = Field(
        "squares", description="of level l: l² overlapping squares (paper 1), or the l×l cells of a grid, of the image's shape (Patchify)"
    )
    patch_sides: tuple[int, ...] = Field(
        (600,), strict=False, description="each patch is described at side² pixels, and what several sides give is concatenated"
    )
    patch_way: Literal["response_maps", "crops"] = Field(
        "response_maps", description="read patches off maps of the image at one scale per level, or feed the network each patch by itself"
    )

    @field_validator("scales")
    @classmethod
    def _scales(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if not scales or any(not 0.05 <= scale <= 4 for scale in scales) or len(set(scales)) < len(scales):
            raise ValueError("expected distinct factors between 0.05 and 4")
        return scales

    @field_validator("patch_sides")
    @classmethod
    def _sides(cls, sides: tuple[int, ...]) -> tuple[int, ...]:
        if not sides or any(not 32 <= side <= 4096 for side in sides) or len(set(sides)) < len(sides):
            raise ValueError("expected distinct numbers of pixels between 32 and 4096")
        return sides

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.patch_levels and self.scales != (1.0,):
            raise ValueError("scales belongs to whole maps; with patch_levels set it to [1.0], and name several patch_sides to concatenate scales")
        return self
