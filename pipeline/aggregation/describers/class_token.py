"""Class token of a transformer as the descriptor, alone or followed by pooled patch tokens (Oquab et al., 2024, for DINOv2)."""

from collections.abc import Sequence

import torch

from pipeline.aggregation.describers.whitened import WhitenedDescriber
from pipeline.aggregation.params import ClassTokenParameters
from pipeline.aggregation.pooling import gem, spoc
from pipeline.maps.pictures import Picture
from pipeline.projections.normalization import l2


class ClassToken(WhitenedDescriber):
    """Maps of the layer `class_token`, then those of `final` where patch tokens are pooled; each part is l2-normalised, then the whole."""

    parameters: ClassTokenParameters

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        if self.parameters.patches == "none":
            return l2(maps[..., 0, 0])
        token, patches = maps.chunk(2, dim=-3)
        pooled = gem(patches, self.parameters.power) if self.parameters.patches == "gem" else spoc(patches)
        return l2(torch.cat([l2(token[..., 0, 0]), l2(pooled)], dim=-1))
