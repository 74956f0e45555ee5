"""The sections `patch_study`, `region_study` and `activation_study` of params.yaml."""

from typing import Self

from pydantic import Field, model_validator

from pipeline.aggregation.params import ClusterParameters
from pipeline.contracts.parameters import Section


class PatchStudyParameters(Section):
    """What the stage patch_similarity compares."""

    patches: int = Field(100, ge=2, le=10_000, description="random squares of database images that are compared with changed views of themselves")
    levels: int = Field(4, ge=2, le=10, description="of the view, with multi-resolution search")
    query_levels: int = Field(3, ge=2, le=10, description="of the square, with jittering")
    side: int = Field(160, ge=32, le=4096, description="every patch is described at side² pixels")
    scales: tuple[float, ...] = Field(
        (0.5, 0.63, 0.79, 1.0, 1.26, 1.59, 2.0), strict=False, description="sides of the view in those of the square, around its centre"
    )
    shifts: tuple[float, ...] = Field(
        (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75), strict=False, description="of a view of the same size, in sides of the square"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError("scales must be positive")
        if not self.shifts or not 0 <= min(self.shifts) <= max(self.shifts) < 1:
            raise ValueError("shifts must lie between 0 and 1, where the view no longer shows the square")
        return self


class ActivationStudyParameters(Section):
    """What the stage class_activations shows."""

    pictures: int = Field(4, ge=0, le=1000, description="queries, evenly spread")
    thumbnail: int = Field(160, ge=16, le=1024, description="pixels of their longer side")


class RegionStudyParameters(Section):
    """What the stage region_precision compares."""

    queries: int = Field(100, ge=0, le=100_000, description="with a box, evenly spread")
    held_out: int = Field(100, ge=1, le=100_000, description="images, evenly spread, whose local features the clusters' components are learned on")
    clusters: ClusterParameters = Field(ClusterParameters(feature_counts=(5, 15)), description="about as many regions as R-MAC has")
    spatial_scale: float = Field(0.1, ge=0.005, description="of the spatial term that the same clusters are made with for comparison")
    pictures: int = Field(3, ge=0, le=100, description="queries among them that the report shows")
    shown: int = Field(10, ge=1, le=20, description="clusters of these pictures")
    thumbnail: int = Field(160, ge=16, le=1024, description="pixels of their longer side")
