"""The section `resize` of params.yaml."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.stage.parameters import Section

ResizeRule = Literal["longest_side", "shortest_side", "area", "square", "none"]
ResizeFilter = Literal["pillow_bilinear", "pillow_bicubic", "pillow_lanczos", "pillow_box"]
QueryCrop = Literal["image", "image_own_size", "activations", "none"]


class ResizeParameters(Section):
    """How images are brought to the size that the network sees."""

    rule: ResizeRule = Field("longest_side", description="what `pixels` is the measure of; for `area` and `square` a side; `square` drops the ratio")
    pixels: int = Field(1024, ge=16, le=16384)
    enlarge: bool = Field(False, description="whether smaller images are enlarged")
    filter: ResizeFilter = Field("pillow_bicubic", description="library and filter; all are antialiased")
    encoding: Literal["png", "jpeg"] = Field("png", description="png is lossless")
    jpeg_quality: int = Field(95, ge=1, le=100)
    minimum_side: int = Field(32, ge=1, description="shortest side that an image is stored with")
    small: Literal["pad", "scale", "refuse"] = Field(
        "pad", description="images that come out smaller: their border pixels are repeated, they are enlarged, or they are unreadable"
    )
    largest_pixels: int = Field(300_000_000, ge=1, description="images with more pixels are unreadable and are not decoded")
    tolerate: int | float | None = Field(
        None,
        ge=0,
        description="unreadable images that are left out before the stage stops: a number, or a share below 1; null: 1 % of own images, else none",
    )
    query_crop: QueryCrop = Field("image", description="what a query's box does: crop the pixels, crop the feature map, or nothing")
    query_context: float = Field(
        0.0,
        ge=0,
        description="pixels of the resized image, or of the resized crop with image_own_size, by which the crop is wider than the box on every side; "
        "only cells whose receptive field has its centre in the box are described",
    )

    @model_validator(mode="after")
    def _square(self) -> Self:
        if self.rule == "square" and self.query_context:
            raise ValueError("query_context has no measure in squares; set it to 0 with rule square")
        if self.query_crop not in ("image", "image_own_size") and self.query_context:
            raise ValueError(f"query_context surrounds crops of pixels; set it to 0 with query_crop {self.query_crop}")
        if isinstance(self.tolerate, float) and self.tolerate >= 1:
            raise ValueError(f"tolerate is a share below 1, or a whole number: {self.tolerate:g} or {round(self.tolerate)}")
        return self

    def tolerated(self, images: int, default: float) -> int:
        """How many of some images may be unreadable; `default` is the share where nothing is set."""
        allowed = default if self.tolerate is None else self.tolerate
        return int(allowed * images + 1e-9) if isinstance(allowed, float) else allowed

    def effective(self) -> dict[str, Any]:
        """What decides the stored images: a quality that is not used is left out, and so is what is tolerated."""
        return self.model_dump(exclude={"tolerate", *(["jpeg_quality"] if self.encoding == "png" else [])})
