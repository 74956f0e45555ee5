"""R-MAC (Tolias et al., 2016): regional maxima, each normalised and whitened, summed (paper 2, §4.2)."""

from collections.abc import Sequence

import torch

from pipeline.aggregation.describers.whitened import WhitenedDescriber, learn_whitening
from pipeline.aggregation.map_stream import MapStream
from pipeline.aggregation.normalization import l2
from pipeline.aggregation.params import RmacParameters
from pipeline.aggregation.pictures import Picture
from pipeline.aggregation.regions import regional_max, rmac_regions


class RegionalMax(WhitenedDescriber):
    """Region maxima → l2 → whitening learned on held-out regions → l2 → sum → l2."""

    parameters: RmacParameters

    @property
    def learns(self) -> bool:
        return super().learns or self.parameters.regional_whitening != "none"

    def dimensions(self, channels: int) -> int:
        return super().dimensions(len(self.models["regional"].components_) if "regional" in self.models else channels)

    def fit_before(self, maps: MapStream) -> None:
        parameters = self.parameters
        if parameters.regional_whitening != "none":
            vectors = (self._regional(scale).flatten(0, 1) for batch in maps() for scale in batch.scales)
            self.models["regional"] = learn_whitening(
                parameters.regional_whitening, parameters.regional_dimensions, parameters.regional_shrinkage, vectors
            )

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        vectors = self._regional(maps)
        if "regional" in self.models:
            vectors = l2(self.models["regional"].transform(vectors))
        return l2(vectors.sum(dim=1))

    def _regional(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, n, K), each l2-normalised."""
        height, width = maps.shape[-2:]
        regions = rmac_regions(height, width, self.parameters.levels, self.parameters.overlap)
        if self.parameters.whole_map:
            regions = torch.cat([torch.tensor([[0, 0, height, width]]), regions])
        return l2(regional_max(maps, regions))
