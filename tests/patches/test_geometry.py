"""Patches against the equations, their windows on maps, and images of unusual shape."""

import numpy as np
import pytest
import torch

from pipeline.aggregation.regions import multi_resolution_patches, spatial_max_pool
from pipeline.contracts.features.patches import patch_count
from pipeline.patches.geometry import LAYOUTS, level_scale, patches_of, windows_on_map
from tests.patches.reference import plain_patches, plain_pool


@pytest.mark.parametrize("size", [(600, 400), (400, 600), (512, 512), (2000, 100), (100, 2000), (7, 3), (1, 1)])
@pytest.mark.parametrize("levels", [1, 3, 4])
def test_patches_are_those_of_the_equations(size: tuple[int, int], levels: int) -> None:
    patches = multi_resolution_patches(*size, levels)
    np.testing.assert_allclose(patches.numpy(), plain_patches(*size, levels), atol=1e-9)
    assert len(patches) == patch_count(levels)


def test_published_counts_and_areas() -> None:
    assert [patch_count(levels) for levels in (1, 2, 3, 4)] == [1, 5, 14, 30]
    patches = multi_resolution_patches(600, 400, 4)
    areas = ((patches[:, 3] - patches[:, 1]) * (patches[:, 4] - patches[:, 2])).round().int()
    assert [set(areas[patches[:, 0] == level].tolist()) for level in range(1, 5)] == [{240000}, {133333}, {75000, 90000}, {48000, 57600}]
    assert patches[0].tolist() == [1, 0, 0, 600, 400]


@pytest.mark.parametrize("size", [(600, 400), (400, 600), (2000, 100), (7, 3)])
def test_the_cells_of_a_grid_share_the_image_among_them(size: tuple[int, int]) -> None:
    patches = patches_of("grid", *size, 3)
    assert len(patches) == patch_count(3)
    assert patches[:, 0].tolist() == [1] + [2] * 4 + [3] * 9
    for level in (1, 2, 3):
        own = patches[patches[:, 0] == level, 1:].numpy()
        np.testing.assert_allclose((own[:, 2:] - own[:, :2]).prod(axis=1), size[0] * size[1] / level**2)
        seen = np.random.default_rng(0).uniform(0, size, (200, 2))
        inside = ((own[:, None, :2] <= seen) & (seen < own[:, None, 2:])).all(axis=2)
        assert inside.sum(axis=0).tolist() == [1] * 200
    np.testing.assert_allclose(patches[1:5, 1:].numpy() / (size * 2), [[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]])


def test_layouts_have_the_whole_image_first() -> None:
    assert patches_of("squares", 60, 40, 3).tolist() == multi_resolution_patches(60, 40, 3).tolist()
    for layout in LAYOUTS:
        assert patches_of(layout, 60, 40, 2)[0].tolist() == [1, 0, 0, 60, 40]  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="1×1 pixels"):
            patches_of(layout, 0, 40, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 3)])
def test_an_image_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="1×1 pixels"):
        multi_resolution_patches(*size, 2)
    with pytest.raises(ValueError, match="one level"):
        multi_resolution_patches(5, 5, 0)


@pytest.mark.parametrize("size", [(600, 400), (2000, 100), (300, 300)])
def test_a_level_is_brought_to_the_wanted_area_on_average(size: tuple[int, int]) -> None:
    patches = multi_resolution_patches(*size, 4)
    for level in range(1, 5):
        scale = level_scale(patches, level, 320)
        own = patches[patches[:, 0] == level]
        areas = (own[:, 3] - own[:, 1]) * (own[:, 4] - own[:, 2]) * scale**2
        assert float(areas.mean()) == pytest.approx(320**2)
        assert 0.8 < float(areas.min()) / 320**2 <= float(areas.max()) / 320**2 < 1.25


@pytest.mark.parametrize("size", [(600, 400), (2000, 100), (33, 660)])
@pytest.mark.parametrize("cells", [(1, 1), (2, 40), (24, 36)])
def test_windows_hold_the_cells_whose_centres_lie_in_the_patch(size: tuple[int, int], cells: tuple[int, int]) -> None:
    boxes = multi_resolution_patches(*size, 4)[:, 1:]
    windows = windows_on_map(boxes, *size, *cells)
    assert (windows[:, 2:] >= 1).all()
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, :2] + windows[:, 2:] <= torch.tensor(cells)).all()
    for (x0, y0, x1, y1), (y, x, height, width) in zip(boxes.tolist(), windows.tolist(), strict=True):
        for first, length, low, high, pixels, count in ((x, width, x0, x1, size[0], cells[1]), (y, height, y0, y1, size[1], cells[0])):
            inside = [cell for cell in range(count) if low - 1e-9 <= (cell + 0.5) * pixels / count < high - 1e-9]
            if inside:
                assert list(range(first, first + length)) == inside


def test_the_first_patch_is_the_whole_map() -> None:
    assert windows_on_map(multi_resolution_patches(640, 480, 1)[:, 1:], 640, 480, 15, 20).tolist() == [[0, 0, 15, 20]]


@pytest.mark.parametrize("grid", [1, 2, 3])
def test_pooling_takes_the_maximum_of_every_cell(grid: int) -> None:
    maps = torch.randn(2, 5, 9, 11, generator=torch.Generator().manual_seed(1))
    windows = torch.tensor([[0, 0, 9, 11], [2, 3, 1, 1], [4, 1, 3, 2], [1, 5, 8, 6], [8, 10, 1, 1]])
    pooled = spatial_max_pool(maps, windows, grid)
    assert pooled.shape == (2, 5, 5 * grid * grid)
    for image in range(2):
        for index, window in enumerate(windows.tolist()):
            np.testing.assert_array_equal(pooled[image, index].numpy(), plain_pool(maps[image].numpy(), tuple(window), grid).astype(np.float32))
    torch.testing.assert_close(spatial_max_pool(maps[0], windows, grid), pooled[0], rtol=0, atol=0)
    torch.testing.assert_close(pooled.unflatten(2, (5, -1)).amax(dim=3), spatial_max_pool(maps, windows, 1), rtol=0, atol=0)
