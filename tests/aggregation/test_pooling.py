"""Poolings against plain NumPy."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pipeline.aggregation.pooling import crow, gem, mac, regional_gem, spoc

Map = npt.NDArray[np.float64]


@pytest.fixture
def maps() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.relu(torch.randn(3, 7, 5, 8, generator=generator))


def plain_spoc(feature_map: Map, centre_prior: bool) -> Map:
    channels, height, width = feature_map.shape
    total = np.zeros(channels)
    deviation = min(height, width) / 6
    for y in range(height):
        for x in range(width):
            distance = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2
            total += feature_map[:, y, x] * (np.exp(-distance / (2 * deviation**2)) if centre_prior else 1.0)
    return total


def plain_gem(feature_map: Map, power: float) -> Map:
    return np.array([np.mean([max(value, 1e-6) ** power for value in channel.ravel()]) ** (1 / power) for channel in feature_map])


def plain_regional_gem(feature_map: Map, power: float, down: int, right: int) -> Map:
    """Of neighbourhoods of 2·down + 1 by 2·right + 1 cells; beyond its border the map is mirrored at the cells of the border."""
    mirrored = np.pad(feature_map, ((0, 0), (down, down), (right, right)), mode="reflect")
    found = np.empty_like(feature_map)
    for channel, y, x in np.ndindex(*feature_map.shape):
        window = mirrored[channel, y : y + 2 * down + 1, x : x + 2 * right + 1]
        found[channel, y, x] = (feature_map[channel, y, x] + np.mean(window**power) ** (1 / power)) / 2
    return found


def plain_crow(feature_map: Map) -> Map:
    summed = feature_map.sum(axis=0)
    spatial = np.sqrt(summed / np.sqrt((summed**2).sum()))
    shares = np.array([(channel > 0).mean() for channel in feature_map])
    epsilon = 1e-6
    weights = np.array([np.log((len(shares) * epsilon + shares.sum()) / (epsilon + share)) if share > 0 else 0.0 for share in shares])
    return np.array([weight * (channel * spatial).sum() for weight, channel in zip(weights, feature_map, strict=True)])


def test_mac_is_the_maximum_of_each_channel(maps: torch.Tensor) -> None:
    expected = [[channel.max() for channel in feature_map] for feature_map in maps.numpy()]
    np.testing.assert_array_equal(mac(maps).numpy(), expected)


@pytest.mark.parametrize("centre_prior", [False, True])
def test_spoc(maps: torch.Tensor, centre_prior: bool) -> None:
    expected = [plain_spoc(feature_map, centre_prior) for feature_map in maps.double().numpy()]
    np.testing.assert_allclose(spoc(maps, centre_prior).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("power", [1.0, 3.0, 10.0])
def test_gem(maps: torch.Tensor, power: float) -> None:
    expected = [plain_gem(feature_map, power) for feature_map in maps.double().numpy()]
    np.testing.assert_allclose(gem(maps, power).numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize(("side", "down", "right"), [(5, 2, 2), (1, 0, 0), (13, 4, 6)])
def test_regional_gem(maps: torch.Tensor, side: int, down: int, right: int) -> None:
    expected = [plain_regional_gem(feature_map, 2.5, down, right) for feature_map in maps.double().numpy()]
    np.testing.assert_allclose(regional_gem(maps, 2.5, side).numpy(), expected, rtol=1e-4, atol=1e-6)


def test_regional_gem_of_the_authors_layers(maps: torch.Tensor) -> None:
    """LPPool2d over a reflected map, divided by what makes it a mean."""
    pooled = torch.nn.LPPool2d(2.5, 5, stride=1)(torch.nn.ReflectionPad2d(2)(maps / 25 ** (1 / 2.5)))
    torch.testing.assert_close(regional_gem(maps), (pooled + maps) / 2, rtol=1e-4, atol=1e-6)


def test_gem_lies_between_mean_and_maximum(maps: torch.Tensor) -> None:
    assert torch.allclose(gem(maps, 1.0), maps.mean(dim=(2, 3)), atol=1e-5)
    assert (gem(maps, 80.0) - mac(maps)).abs().max() < 0.25


def test_crow(maps: torch.Tensor) -> None:
    expected = [plain_crow(feature_map) for feature_map in maps.double().numpy()]
    np.testing.assert_allclose(crow(maps).numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("pool", [mac, spoc, gem, crow])
def test_single_map_and_batch_agree_and_black_images_stay_finite(maps: torch.Tensor, pool: object) -> None:
    assert callable(pool)
    torch.testing.assert_close(pool(maps)[1], pool(maps[1]))
    black = pool(torch.zeros(2, 7, 4, 4))
    assert torch.isfinite(black).all()
    assert black.abs().max() < 1e-5
