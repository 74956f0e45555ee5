"""Masks against loops over locations, and what they do with nothing to select."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch

from pipeline.aggregation.local_features import chunks, pack, sample, select_locations
from pipeline.aggregation.masks import max_mask, sift_mask, sift_points, sum_mask
from pipeline.contracts.images.cells import Grid, Part
from pipeline.maps.pictures import Picture
from tests.aggregation import reference
from tests.devices import DEVICES


def feature_maps(count: int = 5, channels: int = 7, size: tuple[int, int] = (4, 5)) -> torch.Tensor:
    maps = torch.relu(torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(3)))
    maps[0, 2] = 0  # a dead channel
    maps[1] = maps[1].round()  # ties
    return maps


def locations(mask: torch.Tensor) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in mask.nonzero()}


def scene(seed: int = 0) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    noise = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (192, 144), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(4, 5), (3, 3), (1, 1)])
def test_max_and_sum_masks_are_those_of_the_definition(size: tuple[int, int], device: str) -> None:
    maps = feature_maps(size=size).to(device)
    for fast, plain in ((max_mask, reference.max_mask), (sum_mask, reference.sum_mask)):
        masks = fast(maps)
        assert masks.shape == (5, *size)
        assert masks.dtype == torch.bool
        for mask, feature_map in zip(masks, maps, strict=True):
            assert locations(mask) == plain(feature_map.double().cpu().numpy())
            assert torch.equal(mask, fast(feature_map))


def test_a_dead_channel_selects_nothing() -> None:
    maps = torch.zeros(2, 3, 3)
    maps[1, 2, 1] = 1
    assert locations(max_mask(maps)) == {(2, 1)}
    assert locations(max_mask(torch.zeros(2, 3, 3))) == set()


def test_the_sum_mask_keeps_ties_with_the_median() -> None:
    assert sum_mask(torch.ones(3, 2, 5)).all()


def test_the_sift_mask_marks_the_cells_of_key_points() -> None:
    image = scene()
    points = [(float(x), float(y)) for x, y in sift_points(image)]
    assert len(points) > 10
    assert locations(sift_mask(image, 9, 12)) == reference.point_mask(points, 192, 144, 9, 12)


@pytest.mark.parametrize("box", [(48.0, 32.0, 144.0, 112.0), (50.0, 35.0, 140.0, 100.0)])
def test_an_activation_crop_keeps_the_key_points_of_the_cells_that_its_box_touches(box: tuple[float, float, float, float]) -> None:
    image = scene()
    x0, y0, x1, y1 = 48.0, 32.0, 144.0, 112.0
    points = [(x - x0, y - y0) for x, y in sift_points(image) if x0 <= x < x1 and y0 <= y < y1]
    kept = select_locations("sift", torch.ones(1, 3, 5, 6), [Picture(image, Part(box)).at(Grid.even(16.0))])
    assert locations(kept[0]) == reference.point_mask(points, 96, 80, 5, 6)


def test_a_picture_without_key_points_keeps_every_location() -> None:
    grey = Picture(np.full((64, 64, 3), 128, np.uint8))
    assert not sift_mask(grey.pixels, 4, 4).any()
    assert select_locations("sift", torch.ones(1, 3, 4, 4), [grey]).all()


@pytest.mark.parametrize("mask", ["max", "sum", "sift", "none"])
def test_an_image_without_activation_keeps_nothing(mask: str) -> None:
    maps = torch.stack([torch.zeros(3, 4, 4), torch.rand(3, 4, 4)])
    kept = select_locations(mask, maps, [Picture(scene()), Picture(scene(1))])
    assert not kept[0].any()
    assert kept[1].any()


def test_packed_features_stand_image_after_image_in_row_order() -> None:
    maps = feature_maps(2, 3, (2, 2))
    mask = torch.tensor([[[True, False], [False, True]], [[False, True], [False, False]]])
    features, counts = pack(maps, mask)
    assert counts == [2, 1]
    assert torch.equal(features, torch.stack([maps[0, :, 0, 0], maps[0, :, 1, 1], maps[1, :, 0, 1]]))


def test_chunks_hold_every_image_once_and_stay_below_the_limit() -> None:
    counts = [3, 1, 5, 0, 2, 9, 1]
    parts = [counts[part] for part in chunks(counts, 8)]
    assert [count for part in parts for count in part] == counts
    assert all(len(part) == 1 or max(part) * len(part) <= 8 for part in parts)
    assert list(chunks([], 8)) == []


def test_a_sample_is_drawn_evenly_and_the_same_for_the_same_seed() -> None:
    features = torch.arange(1000.0)[:, None]

    def batches() -> Iterator[torch.Tensor]:
        return iter(features.split([300, 1, 699]))

    taken = sample(batches, 1000, 100, seed=5)
    assert len(taken) == 100
    assert torch.equal(taken, sample(batches, 1000, 100, seed=5))
    assert not torch.equal(taken, sample(batches, 1000, 100, seed=6))
    assert (taken[1:] > taken[:-1]).all()
    assert abs(float(taken.mean()) - 500) < 100
    assert len(sample(batches, 1000, None, seed=5)) == 1000
