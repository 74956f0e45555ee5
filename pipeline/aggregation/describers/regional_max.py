"""R-MAC (Tolias et al., 2016): maxima of square regions, each normalised and whitened, summed (paper 2, §4.2)."""

from collections.abc import Sequence

import torch

from pipeline.aggregation.describers.regional import RegionalDescriber
from pipeline.aggregation.params import RmacParameters
from pipeline.aggregation.regions import regional_max, rmac_regions
from pipeline.maps.pictures import Picture


class RegionalMax(RegionalDescriber):
    """The regions are squares of several sizes, the same for all maps of one size."""

    parameters: RmacParameters

    def regional(self, maps: torch.Tensor, pictures: Sequence[Picture]) -> torch.Tensor:
        height, width = maps.shape[-2:]
        regions = rmac_regions(height, width, self.parameters.levels, self.parameters.overlap)
        if self.parameters.whole_map:
            regions = torch.cat([torch.tensor([[0, 0, height, width]]), regions])
        return regional_max(maps, regions)
