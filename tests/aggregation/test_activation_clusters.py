"""The describer of activation clusters: its steps in order, given the clusters; its colours, crops and degenerate maps."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pipeline.aggregation.clusters import feature_similarity, normalized_cut
from pipeline.aggregation.describers.activation_clusters import STARTS, ActivationClusters
from pipeline.aggregation.params import ClustersParameters
from pipeline.contracts.images.cells import Grid, Part
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapBatch, MapStream

CHANNELS = 8


def maps(seed: int, count: int = 4, size: tuple[int, int] = (6, 9)) -> torch.Tensor:
    return torch.relu(torch.randn(count, CHANNELS, *size, generator=torch.Generator().manual_seed(seed)))


def pictures(count: int, rows: int = 96, columns: int = 144, seed: int = 0) -> list[Picture]:
    random = np.random.default_rng(seed)
    return [Picture(random.integers(0, 256, (rows, columns, 3), np.uint8), grid=Grid.even(16)) for _ in range(count)]


def held_out() -> MapStream:
    def stream() -> Iterator[MapBatch]:
        for seed in range(30, 40):
            yield MapBatch([maps(seed)], pictures(4, seed=seed), [Grid.even(16.0)])

    return stream


def learned(**changes: Any) -> ActivationClusters:
    parameters = {"local_dimensions": 3, "feature_counts": [2, 4], "colour_counts": [3], "regional_dimensions": 5} | changes
    describer = ActivationClusters("clusters", ClustersParameters.model_validate(parameters))
    describer.fit(held_out())
    return describer


def unit(vector: np.ndarray) -> np.ndarray:
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm else vector


@pytest.mark.parametrize("weights", ["variance", "none"])
def test_from_map_to_descriptor_in_the_papers_order(weights: str) -> None:
    describer = learned(weights=weights)
    batch = MapBatch([maps(1, 2)], pictures(2), [Grid.even(16.0)])
    found = describer.describe(batch).numpy()
    local, regional = describer.models["local"], describer.models["regional"]
    for index, image in enumerate(batch.scales[0]):
        features = image.flatten(1).T
        components = (features - local.mean_) @ local.components_.T
        similarity = feature_similarity(components, local.eigenvalues_[:3] if weights == "variance" else None, 0.05)
        colours = torch.from_numpy(batch.pictures[index].colours(6, 9)).flatten(0, 1)
        labels = [*normalized_cut(similarity, [2, 4], 0.5, STARTS), *normalized_cut(feature_similarity(colours, None, 0.05), [3], 0.5, STARTS)]
        total = np.zeros(5)
        for own in labels:
            for cluster in own.unique():
                pooled = unit(features[own == cluster].amax(dim=0).double().numpy())
                total += unit(regional.components_.double().numpy() @ (pooled - regional.mean_.double().numpy()))
        np.testing.assert_allclose(found[index], unit(total), atol=1e-4)


@pytest.mark.slow
def test_one_cluster_is_mac() -> None:
    describer = learned(feature_counts=[1], colour_counts=[], regional_whitening="none", regional_dimensions=None)
    own = maps(3)
    pooled = own.amax(dim=(2, 3))
    torch.testing.assert_close(describer.describe(MapBatch([own])), pooled / pooled.norm(dim=1, keepdim=True))


def test_colours_are_those_of_the_part_that_the_map_shows() -> None:
    pixels = np.zeros((96, 160, 3), np.uint8)
    pixels[32:64, 48:112] = 200
    whole = Picture(pixels, grid=Grid.even(16)).colours(6, 10)
    assert whole.shape == (6, 10, 3)
    assert whole[3, 4, 0] > 150
    assert whole[0, 0, 0] < 5
    inside = Picture(pixels, part=Part((50, 33, 110, 62)), grid=Grid.even(16)).colours(2, 4)
    np.testing.assert_allclose(inside, 200, atol=1)


def test_a_batch_gives_what_each_image_gives() -> None:
    describer = learned()
    own, shown = maps(1), pictures(4)
    together = describer.describe(MapBatch([own], shown, [Grid.even(16.0)]))
    alone = torch.cat([describer.describe(MapBatch([own[index : index + 1]], shown[index : index + 1], [Grid.even(16.0)])) for index in range(4)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_an_image_on_its_own_gives_what_it_gives_among_others() -> None:
    describer = learned(feature_counts=[5, 20])
    own, shown = maps(1, 6, (24, 32)), pictures(6, 24 * 16, 32 * 16)
    own[2], own[4] = own[2].cumsum(dim=2), 0.5
    together = describer.describe(MapBatch([own], shown, [Grid.even(16.0)]))
    alone = torch.cat([describer.describe(MapBatch([own[index : index + 1]], shown[index : index + 1], [Grid.even(16.0)])) for index in range(6)])
    assert float((together * alone).sum(dim=1).min()) > 0.9999


def test_the_spatial_term_changes_the_clusters() -> None:
    batch = MapBatch([maps(1)], pictures(4), [Grid.even(16.0)])
    assert not torch.allclose(learned().describe(batch), learned(spatial_scale=0.1).describe(batch), atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (23, 31)])
def test_small_dead_and_flat_maps(size: tuple[int, int]) -> None:
    describer = learned(feature_counts=[5, 20])
    shown = pictures(3, 16 * size[0], 16 * size[1])
    found = describer.describe(MapBatch([maps(2, 3, size)], shown, [Grid.even(16.0)]))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    flat = [Picture(np.full((16 * size[0], 16 * size[1], 3), 90, np.uint8), grid=Grid.even(16))] * 3
    same = torch.ones(3, CHANNELS, *size) * torch.arange(1, CHANNELS + 1)[:, None, None]
    constant = describer.describe(MapBatch([same], flat, [Grid.even(16.0)]))
    torch.testing.assert_close(constant.norm(dim=1), torch.ones(3))
    assert not describer.describe(MapBatch([torch.zeros(3, CHANNELS, *size)], flat, [Grid.even(16.0)])).any()


def test_no_clusters_at_all_are_refused() -> None:
    with pytest.raises(ValidationError, match="name no clusters"):
        ClustersParameters.model_validate({"feature_counts": [], "colour_counts": []})
