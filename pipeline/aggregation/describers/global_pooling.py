"""Whole-map poolings as describers: MAC, SPoC, GeM, CroW."""

from collections.abc import Sequence

import torch

from pipeline.aggregation.describers.whitened import WhitenedDescriber
from pipeline.aggregation.params import CrowParameters, GemParameters, MacParameters, SpocParameters
from pipeline.aggregation.pooling import crow, gem, mac, spoc
from pipeline.maps.pictures import Picture
from pipeline.projections.normalization import l2


class GlobalPooling(WhitenedDescriber):
    """Pool, l2-normalise; several scales are averaged, for GeM by its own generalised mean."""

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        match self.parameters:
            case SpocParameters(centre_prior=centre_prior):
                return l2(spoc(maps, centre_prior))
            case GemParameters(power=power):
                return l2(gem(maps, power))
            case CrowParameters(spatial_power=spatial_power):
                return l2(crow(maps, spatial_power))
            case MacParameters():
                return l2(mac(maps))
            case _:
                raise TypeError(f"{type(self.parameters).__name__} belongs to no pooling")

    def combine(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        if not isinstance(self.parameters, GemParameters):
            return super().combine(scales)
        power = self.parameters.power
        return torch.stack(list(scales)).clamp(min=0).pow(power).mean(dim=0).pow(1 / power)
