"""Boxes cut out of maps: the same place at every scale, with the pictures behind them; parts of one size described together."""

import numpy as np
import torch

from pipeline.contracts.images.cells import Grid, Part
from pipeline.maps.boxes import cut_out, joined, pixels_of
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapBatch


def batch() -> MapBatch:
    """Two images of 96×64 pixels: maps of stride 16, and of 8 at twice the scale, whose cells say where they are; pictures alike."""
    scales = []
    for rows, columns in ((4, 6), (8, 12)):
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        scales.append(torch.stack([torch.stack([y, x]), torch.stack([y + 100, x + 100])]).float())
    pixels = np.stack(np.broadcast_arrays(np.arange(64)[:, None], np.arange(96)[None], 7), axis=2).astype(np.uint8)
    pictures = [Picture(pixels, grid=Grid.even(16)), Picture(255 - pixels, grid=Grid.even(16))]
    return MapBatch(scales, pictures, [Grid.even(16.0), Grid.even(8.0)], image_size=(96, 64))


def test_every_scale_shows_the_box() -> None:
    part = cut_out(batch(), 1, (1, 2, 3, 5))
    assert [tuple(maps.shape) for maps in part.scales] == [(1, 2, 2, 3), (1, 2, 4, 6)]
    assert part.scales[0][0, :, 0, 0].tolist() == [101, 102]
    assert part.scales[1][0, :, 0, 0].tolist() == [102, 104]
    assert part.scales[1][0, :, -1, -1].tolist() == [105, 109]
    assert pixels_of(batch(), (1, 2, 3, 5)) == (32, 16, 80, 48)


def test_pictures_show_the_box_too() -> None:
    part = cut_out(batch(), 0, (1, 2, 3, 5))
    for (maps, (picture,)), cells in zip(part.with_pictures(), ((2, 3), (4, 6)), strict=True):
        assert picture.shown(picture.pixels, maps.shape[2], maps.shape[3]) == (32, 16, 80, 48)
        colours = picture.colours(*cells)
        assert abs(colours[..., 0].mean() - 31.5) < 1
        assert abs(colours[..., 1].mean() - 55.5) < 1


def test_a_box_at_the_edge_ends_with_the_image() -> None:
    wide = MapBatch([torch.zeros(1, 1, 4, 6)], grids=[Grid.even(17.0)], image_size=(96, 64))
    assert pixels_of(wide, (3, 5, 4, 6)) == (85, 51, 96, 64)


def test_parts_of_one_size_are_joined_in_their_places() -> None:
    cells = [(0, 0, 2, 2), (0, 0, 1, 3), (2, 4, 4, 6)]
    parts = [cut_out(batch(), index, box) for index, box in zip((0, 1, 1), cells, strict=True)]
    groups = {tuple(places): part for places, part in joined(parts)}
    assert set(groups) == {(0, 2), (1,)}
    both = groups[0, 2]
    assert both.scales[0].shape == (2, 2, 2, 2)
    assert both.scales[0][:, 0, 0, 0].tolist() == [0, 102]
    assert [picture.part for picture in both.pictures] == [Part((0, 0, 32, 32)), Part((64, 32, 96, 64))]
