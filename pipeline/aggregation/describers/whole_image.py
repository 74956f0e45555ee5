"""Describers of one vector per image, which they make scale by scale."""

from abc import abstractmethod
from collections.abc import Sequence

import torch

from pipeline.aggregation.describers.describer import Describer
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapBatch
from pipeline.projections.normalization import l2


class WholeImageDescriber(Describer):
    """Subclasses give `describe_scale`; what it needs is learned in `fit_before`, what follows once the scales are one in `fit_final`."""

    @abstractmethod
    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        """(B, K, H, W) to (B, D'), l2-normalised, before what is learned from whole images."""

    def combine(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        """One vector from those of several scales: their mean."""
        return torch.stack(list(scales)).mean(dim=0)

    def pooled(self, batch: MapBatch) -> torch.Tensor:
        vectors = [self.describe_scale(maps, pictures) for maps, pictures in batch.with_pictures()]
        return l2(self.combine(vectors)) if len(vectors) > 1 else vectors[0]
