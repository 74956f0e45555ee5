"""Which cells of a feature map a part of its image keeps."""

import math
from dataclasses import dataclass
from typing import Self

from pipeline.stage.catalogue import Box

Window = tuple[int, int, int, int]
"""y0, x0, y1, x1 in cells, the ends exclusive."""
ROUNDING = 1e-6
"""Of a cell: a border this near to a cell's border or centre counts as lying on it."""


@dataclass(frozen=True)
class Grid:
    """Where the cells of a map look, in pixels of the image.

    Attributes:
        stride: between the centres of two neighbouring cells' receptive fields.
        first: from the image's edge to the centre of the first cell's receptive field.
    """

    stride: float
    first: float

    @classmethod
    def even(cls, stride: float) -> Self:
        """Cells that divide the image from its edge on."""
        return cls(stride, stride / 2)

    def at(self, scale: float) -> "Grid":
        """The same network's, of the image resized by `scale`, in pixels of the image itself."""
        return Grid(self.stride / scale, self.first / scale)


@dataclass(frozen=True)
class Part:
    """A box of an image in pixels, and which cells it keeps.

    Attributes:
        centred: those whose receptive field has its centre in the box (paper 1, §5.1); else all that the box touches.
    """

    box: Box
    centred: bool = False

    def window(self, grid: Grid, height: int, width: int) -> Window:
        """The cells of an H×W map, one at least."""
        rows, columns = (self._range(self.box[axis], self.box[axis + 2], grid, count) for axis, count in ((1, height), (0, width)))
        return rows[0], columns[0], rows[1], columns[1]

    def _range(self, low: float, high: float, grid: Grid, count: int) -> tuple[int, int]:
        if self.centred:
            begin = math.ceil((low - grid.first) / grid.stride - ROUNDING)
            end = math.floor((high - grid.first) / grid.stride + ROUNDING) + 1
        else:
            begin, end = math.floor(low / grid.stride + ROUNDING), math.ceil(high / grid.stride - ROUNDING)
        begin = min(max(begin, 0), count - 1)
        return begin, max(min(end, count), begin + 1)
