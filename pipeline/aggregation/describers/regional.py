"""Describers that whiten and sum the maxima of many regions of a map."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from pipeline.aggregation.describers.network_parts import projection_of
from pipeline.aggregation.describers.whitened import WhitenedDescriber, learn_whitening, naming
from pipeline.aggregation.params import RegionalParameters
from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapStream
from pipeline.networks.region_projection import RegionProjection
from pipeline.projections.normalization import l2


class RegionalDescriber(WhitenedDescriber):
    """Region maxima → l2 → whitening learned on held-out regions → l2 → sum → l2. A region without any activation adds nothing."""

    parameters: RegionalParameters
    kinds: ClassVar[dict[str, Any]] = WhitenedDescriber.kinds | {RegionProjection.__name__: RegionProjection}

    def adopt(self, folder: Path, choice: NetworkChoice) -> None:
        if self.parameters.regional_whitening == "network":
            self.models["regional"] = projection_of(self.method, "regional_whitening", folder, choice)

    @abstractmethod
    def regional(self, maps: torch.Tensor, pictures: Sequence[Picture]) -> torch.Tensor:
        """(B, K, H, W) to the regions' maxima (B, n, K); zeros for an empty region."""

    def dimensions(self, channels: int) -> int:
        return super().dimensions(len(self.models["regional"].components_) if "regional" in self.models else channels)

    def fit_before(self, maps: MapStream) -> None:
        parameters = self.parameters
        if parameters.regional_whitening not in ("none", "network"):
            found = (l2(self.regional(*scale)).flatten(0, 1) for batch in maps() for scale in batch.with_pictures())
            vectors = (rows[rows.any(dim=1)] for rows in found)
            with naming(f"aggregate.{self.method}.regional_dimensions"):
                self.models["regional"] = learn_whitening(
                    parameters.regional_whitening, parameters.regional_dimensions, parameters.regional_shrinkage, vectors
                )

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        vectors = l2(self.regional(maps, pictures))
        if "regional" in self.models:
            active = vectors.any(dim=2, keepdim=True)
            vectors = l2(self.models["regional"].transform(vectors)) * active
        return l2(vectors.sum(dim=1))
