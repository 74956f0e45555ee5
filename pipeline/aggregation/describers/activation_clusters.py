"""Activation clusters: maxima of clusters of local features, and of colours, instead of R-MAC's squares (paper 2, §3)."""

from collections.abc import Sequence
from typing import assert_never

import torch

from pipeline.aggregation.clusters import cluster_max, feature_similarity, normalized_cut, spatial_similarity
from pipeline.aggregation.describers.regional import RegionalDescriber
from pipeline.aggregation.describers.whitened import naming
from pipeline.aggregation.params import ClusterParameters, ClustersParameters
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapStream
from pipeline.projections.moments import Moments
from pipeline.projections.whitening import PCA

SIMILARITIES_AT_ONCE = {"cpu": 2**22, "cuda": 2**27}
"""Entries of the similarity matrices of the images that are clustered together; one image at least."""
STARTS = 1
"""Of the discretisation, as published in code."""
Clusters = list[tuple[torch.Tensor, int]]
"""(B, H·W) labels and the number of clusters, one pair per count."""


class ActivationClusters(RegionalDescriber):
    """The regions are clusters of each image's local features after PCA, and of its colours."""

    parameters: ClustersParameters

    def fit_before(self, maps: MapStream) -> None:
        if self.parameters.feature_counts:
            with naming(f"aggregate.{self.method}.local_dimensions"):
                self.models["local"] = learn_local(maps, self.parameters.local_dimensions)
        super().fit_before(maps)

    def regional(self, maps: torch.Tensor, pictures: Sequence[Picture]) -> torch.Tensor:
        at_once = images_at_once(maps)
        found = []
        for first in range(0, len(maps), at_once):
            own = maps[first : first + at_once]
            clusters = feature_clusters(own, self.models["local"], self.parameters) if self.parameters.feature_counts else []
            clusters += colour_clusters(pictures[first : first + at_once], own, self.parameters) if self.parameters.colour_counts else []
            found.append(torch.cat([cluster_max(own, labels, count) for labels, count in clusters], dim=1))
        return torch.cat(found)


def learn_local(maps: MapStream, dimensions: int | None) -> PCA:
    """The components of local features (every location of every scale's maps) that distances are measured in (§3.1); all where None."""
    features = (scale.flatten(2).mT.reshape(-1, scale.shape[1]) for batch in maps() for scale in batch.scales)
    return PCA(dimensions).fit_moments(Moments.of(features))


def images_at_once(maps: torch.Tensor) -> int:
    """Images of (B, K, H, W) that are clustered together."""
    return int(max(1, SIMILARITIES_AT_ONCE[maps.device.type] // (maps.shape[2] * maps.shape[3]) ** 2))


def feature_clusters(maps: torch.Tensor, local: PCA, parameters: ClusterParameters) -> Clusters:
    """Of local features of (B, K, H, W), by distances after PCA (equations 2 and 3), with the spatial term where it is asked for."""
    features = local.transform(maps.flatten(2).mT)
    match parameters.weights:
        case "variance":
            weights: torch.Tensor | None = local.eigenvalues_[: features.shape[2]]
        case "none":
            weights = None
        case _:
            assert_never(parameters.weights)
    return _cut(features, weights, maps, parameters.feature_counts, parameters)


def colour_clusters(pictures: Sequence[Picture], maps: torch.Tensor, parameters: ClusterParameters) -> Clusters:
    """Of the RGB values of pictures brought to the size of their maps (§3.2)."""
    height, width = maps.shape[-2:]
    colours = torch.stack([torch.from_numpy(picture.colours(height, width)) for picture in pictures])
    return _cut(colours.to(maps).flatten(1, 2), None, maps, parameters.colour_counts, parameters)


def _cut(points: torch.Tensor, variances: torch.Tensor | None, maps: torch.Tensor, counts: Sequence[int], parameters: ClusterParameters) -> Clusters:
    similarity = feature_similarity(points, variances, parameters.scale)
    if parameters.spatial_scale is not None:
        similarity *= spatial_similarity(maps.shape[2], maps.shape[3], parameters.spatial_scale, maps.device)
    labels = normalized_cut(similarity, counts, parameters.regularisation, STARTS)
    return list(zip(labels, counts, strict=True))
