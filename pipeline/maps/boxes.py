"""Parts of feature maps: boxes of cells, cut out of every scale, with what the describers look at behind them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from pipeline.contracts.images.cells import Part
from pipeline.maps.stream import MapBatch
from pipeline.stage.catalogue import Box

Cells = tuple[int, int, int, int]
"""y0, x0, y1, x1 in cells of the first scale, the ends exclusive."""


def cut_out(batch: MapBatch, index: int, cells: Cells) -> MapBatch:
    """One image's part of a batch: at other scales the cells that the box touches, one at least."""
    part = Part(pixels_of(batch, cells))
    windows = [cells, *(part.window(grid, *maps.shape[2:]) for grid, maps in zip(batch.grids[1:], batch.scales[1:], strict=True))]
    scales = [maps[index : index + 1, :, y0:y1, x0:x1] for maps, (y0, x0, y1, x1) in zip(batch.scales, windows, strict=True)]
    pictures = [replace(batch.pictures[index], part=part)] if batch.pictures else ()
    return replace(batch, scales=scales, pictures=pictures, instances=())


def pixels_of(batch: MapBatch, cells: Cells) -> Box:
    """The box in pixels of the image: x0, y0, x1, y1."""
    stride = batch.grids[0].stride
    width, height = batch.image_size
    return (cells[1] * stride, cells[0] * stride, min(cells[3] * stride, width), min(cells[2] * stride, height))


def joined(parts: Sequence[MapBatch]) -> Iterable[tuple[list[int], MapBatch]]:
    """Parts with maps of equal size as one batch each, with their places among the parts."""
    groups: dict[tuple[torch.Size, ...], list[int]] = {}
    for place, part in enumerate(parts):
        groups.setdefault(tuple(scale.shape for scale in part.scales), []).append(place)
    for places in groups.values():
        own = [parts[place] for place in places]
        scales = [torch.cat(list(maps)) for maps in zip(*(part.scales for part in own), strict=True)]
        yield places, replace(own[0], scales=scales, pictures=[picture for part in own for picture in part.pictures])
