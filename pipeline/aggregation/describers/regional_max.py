"""R-MAC (Tolias et al., 2016): regional maxima, each normalised and whitened, summed (paper 2, §4.2)."""

import torch

from pipeline.aggregation.describers.describer import Describer, MapStream, learn_whitening
from pipeline.aggregation.normalization import l2
from pipeline.aggregation.params import RmacParameters
from pipeline.aggregation.regions import regional_max, rmac_regions


class RegionalMax(Describer):
    """Region maxima → l2 → whitening learned on held-out regions → l2 → sum → l2."""

    parameters: RmacParameters

    @property
    def learns(self) -> bool:
        return super().learns or self.parameters.regional_whitening != "none"

    def fit_before(self, maps: MapStream) -> None:
        parameters = self.parameters
        if parameters.regional_whitening != "none":
            vectors = (self._regional(scale).flatten(0, 1) for batch in maps() for scale in batch)
            self.models["regional"] = learn_whitening(
                parameters.regional_whitening, parameters.regional_dimensions, parameters.regional_shrinkage, vectors
            )

    def describe_scale(self, maps: torch.Tensor) -> torch.Tensor:
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
