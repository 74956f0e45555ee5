"""Cells of a map that a box keeps: those that it touches, or those that are centred in it."""

import itertools

import pytest

from pipeline.contracts.images.cells import Grid, Part
from pipeline.stage.catalogue import Box


@pytest.mark.parametrize(
    ("box", "window"),
    [
        ((0, 0, 320, 240), (0, 0, 15, 20)),
        ((17, 33, 31, 47), (2, 1, 3, 2)),
        ((16, 32, 32, 48), (2, 1, 3, 2)),
        ((15.9, 31.9, 32.1, 48.1), (1, 0, 4, 3)),
        ((319, 239, 320, 240), (14, 19, 15, 20)),
        ((500, 500, 600, 600), (14, 19, 15, 20)),
        ((100, 100, 100, 100), (6, 6, 7, 7)),
    ],
)
def test_touched_cells_are_floor_and_ceil_with_one_at_least(box: Box, window: tuple[int, int, int, int]) -> None:
    assert Part(box).window(Grid.even(16.0), 15, 20) == window


@pytest.mark.parametrize("grid", [Grid(16.0, 8.0), Grid(16.0, 15.5), Grid(32.0, 0.5)])
def test_centred_cells_are_those_whose_centre_lies_in_the_box(grid: Grid) -> None:
    height, width = 9, 12
    for x0, y0 in itertools.product((0.0, 15.5, 16.2, 40.0), (0.0, 8.0, 33.3)):
        box = (x0, y0, x0 + 75.0, y0 + 61.0)
        rows = [row for row in range(height) if box[1] <= grid.first + row * grid.stride <= box[3]]
        columns = [column for column in range(width) if box[0] <= grid.first + column * grid.stride <= box[2]]
        assert Part(box, centred=True).window(grid, height, width) == (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)


def test_a_box_between_two_centres_keeps_the_next_cell() -> None:
    grid = Grid(16.0, 8.0)
    assert Part((10.0, 10.0, 20.0, 20.0), centred=True).window(grid, 4, 4) == (1, 1, 2, 2)
    assert Part((70.0, 70.0, 80.0, 80.0), centred=True).window(grid, 4, 4) == (3, 3, 4, 4)


def test_a_scaled_image_has_a_scaled_grid() -> None:
    assert Grid(16.0, 15.5).at(0.5) == Grid(32.0, 31.0)
