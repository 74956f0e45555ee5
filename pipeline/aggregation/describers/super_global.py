"""SuperGlobal's descriptor (Shao et al., ICCV 2023, §3.1): generalised means over neighbourhoods, over the map, and over scales."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from pipeline.aggregation.describers.network_parts import projection_of
from pipeline.aggregation.describers.whitened import learn_whitening, naming
from pipeline.aggregation.describers.whole_image import WholeImageDescriber
from pipeline.aggregation.params import SuperGlobalParameters
from pipeline.aggregation.pooling import gem, regional_gem
from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapStream
from pipeline.networks.region_projection import RegionProjection
from pipeline.projections.normalization import l2
from pipeline.projections.whitening import WHITENINGS


class SuperGlobal(WholeImageDescriber):
    """Regional GeM → GeM → l2 → whitening, at each scale; then the maximum over the scales, as in the authors' code."""

    parameters: SuperGlobalParameters
    kinds: ClassVar[dict[str, Any]] = {kind.__name__: kind for kind in (*WHITENINGS.values(), RegionProjection)}

    def adopt(self, folder: Path, choice: NetworkChoice) -> None:
        if self.parameters.whitening == "network":
            self.models["scale"] = projection_of(self.method, "whitening", folder, choice)

    def dimensions(self, channels: int) -> int:
        return len(self.models["scale"].components_) if "scale" in self.models else channels

    def fit_before(self, maps: MapStream) -> None:
        own = self.parameters
        if own.whitening not in ("none", "network"):
            vectors = (self._plain(scale) for batch in maps() for scale in batch.scales)
            with naming(f"aggregate.{self.method}.dimensions"):
                self.models["scale"] = learn_whitening(own.whitening, own.dimensions, own.shrinkage, _active(vectors))

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        vectors = self._plain(maps)
        if "scale" not in self.models:
            return vectors
        return l2(self.models["scale"].transform(vectors)) * vectors.any(dim=1, keepdim=True)

    def combine(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(scales)).amax(dim=0)

    def finish(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors

    def _plain(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, K, H, W) to (B, K), l2-normalised; zeros where nothing is active."""
        own = self.parameters
        pooled = gem(regional_gem(maps, own.region_power, own.region_side), own.power)
        return l2(pooled) * (maps > 0).flatten(1).any(dim=1, keepdim=True)


def _active(batches: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Without the rows of zeros."""
    return (rows[rows.any(dim=1)] for rows in batches)
