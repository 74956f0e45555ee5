"""The sections `mask_study`, `patch_study`, `region_study` and `activation_study` of params.yaml: a part for each benchmark that is studied."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from pipeline.aggregation.params import ClusterParameters
from pipeline.stage.parameters import Section


class StudyParameters(Section):
    """What every study has."""

    dataset: str = Field(min_length=1, description="that of the benchmark")


class MaskStudyParameters(StudyParameters):
    """What the stage masks looks at."""

    images: int = Field(100, ge=1, description="database images, evenly spread")
    pictures: int = Field(4, ge=0, le=100, description="those among them that the report shows")
    near_orthogonal: float = Field(0.15, ge=0, le=1, description="two features are nearly orthogonal when |cosine| is at most this")


class PatchStudyParameters(StudyParameters):
    """What the stage patch_similarity compares."""

    patches: int = Field(12, ge=2, le=10_000, description="random squares of database images that are compared with changed views of themselves")
    levels: int = Field(4, ge=2, le=10, description="of the view, with multi-resolution search")
    query_levels: int = Field(3, ge=2, le=10, description="of the square, with jittering")
    side: int = Field(160, ge=32, le=4096, description="every patch is described at side² pixels")
    scales: tuple[float, ...] = Field(
        (0.5, 0.71, 1.0, 1.41, 2.0), strict=False, description="sides of the view in those of the square, around its centre"
    )
    shifts: tuple[float, ...] = Field((0.0, 0.25, 0.5, 0.75), strict=False, description="of a view of the same size, in sides of the square")
    seed: int = Field(0, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError("scales must be positive")
        if not self.shifts or not 0 <= min(self.shifts) <= max(self.shifts) < 1:
            raise ValueError("shifts must lie between 0 and 1, where the view no longer shows the square")
        return self


class ActivationStudyParameters(StudyParameters):
    """What the stage class_activations shows."""

    pictures: int = Field(4, ge=0, le=1000, description="queries, evenly spread")
    thumbnail: int = Field(160, ge=16, le=1024, description="pixels of their longer side")


class RegionStudyParameters(StudyParameters):
    """What the stage region_precision compares."""

    held_out: str = Field(min_length=1, description="data set that the clusters' components are learned on: that of the benchmark")
    queries: int = Field(40, ge=0, le=100_000, description="with a box, evenly spread")
    held_out_images: int = Field(40, ge=1, le=100_000, description="evenly spread, whose local features the components are learned on")
    clusters: ClusterParameters = Field(ClusterParameters(feature_counts=(5, 15)), description="about as many regions as R-MAC has")
    spatial_scale: float = Field(0.1, ge=0.005, description="of the spatial term that the same clusters are made with for comparison")
    pictures: int = Field(3, ge=0, le=100, description="queries among them that the report shows")
    shown: int = Field(10, ge=1, le=20, description="clusters of these pictures")
    components: tuple[int, ...] = Field(
        (1, 2, 8, 64, 256, 512), strict=False, description="of local features, counted from 1, whose maps are shown; those that there are"
    )
    thumbnail: int = Field(160, ge=16, le=1024, description="pixels of their longer side")

    @field_validator("components")
    @classmethod
    def _components(cls, components: tuple[int, ...]) -> tuple[int, ...]:
        if any(component < 1 for component in components) or len(set(components)) < len(components):
            raise ValueError("expected distinct numbers from 1 on")
        return components


STUDIES: dict[str, type[StudyParameters]] = {
    "mask_study": MaskStudyParameters,
    "patch_study": PatchStudyParameters,
    "region_study": RegionStudyParameters,
    "activation_study": ActivationStudyParameters,
}
