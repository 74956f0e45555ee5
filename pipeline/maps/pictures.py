"""The photographs behind feature maps, for describers that look at pixels as well."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.contracts.images.cells import Grid, Part
from pipeline.contracts.images.image_shards import StoredImage, read_images, read_sizes
from pipeline.stage.catalogue import Box

Pixels = npt.NDArray[np.uint8]
PIXELS = Grid.even(1.0)


@dataclass(frozen=True)
class Picture:
    """What the network was fed.

    Attributes:
        source: (rows, columns, 3) uint8 RGB, or the encoded image, which is decoded when it is looked at.
        part: whose activations the maps show; None for the whole image.
        grid: where the cells of the map look.
    """

    source: Pixels | bytes
    part: Part | None = None
    grid: Grid = PIXELS

    @property
    def pixels(self) -> Pixels:
        """(rows, columns, 3) uint8 RGB."""
        if isinstance(self.source, bytes):
            with Image.open(io.BytesIO(self.source)) as image:
                return np.asarray(image.convert("RGB"))
        return self.source

    def decoded(self) -> "Picture":
        """The same picture with its pixels in memory, to be looked at more than once."""
        return replace(self, source=self.pixels)

    def at(self, grid: Grid) -> "Picture":
        """The same picture behind a map of another grid."""
        return replace(self, grid=grid)

    def shown(self, pixels: Pixels, height: int, width: int) -> Box:
        """The part, in pixels, that an H×W map shows: the whole image, or the cells that the part keeps."""
        if self.part is None:
            return (0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0]))
        stride = self.grid.stride
        row, column, *_ = self.part.window(self.grid, math.ceil(pixels.shape[0] / stride), math.ceil(pixels.shape[1] / stride))
        return (column * stride, row * stride, (column + width) * stride, (row + height) * stride)

    def colours(self, height: int, width: int) -> npt.NDArray[np.float32]:
        """The part that an H×W map shows, brought to the map's size: (H, W, 3) RGB from 0 to 255 (antialiased bicubic)."""
        pixels = self.pixels
        x0, y0, x1, y1 = self.shown(pixels, height, width)
        part = Image.fromarray(pixels[round(y0) : max(round(y1), round(y0) + 1), round(x0) : max(round(x1), round(x0) + 1)])
        return np.asarray(part.resize((width, height), Image.Resampling.BICUBIC), np.float32)


class PictureReader:
    """Pictures of image shards by id; the encoded images of one shard are held at a time."""

    def __init__(self, shards: Sequence[Path]) -> None:
        self._shard = {image.image_id: path for path in shards for image in read_sizes(path)}
        self._open: Path | None = None
        self._stored: dict[str, StoredImage] = {}

    def pictures(self, image_ids: Sequence[str]) -> list[Picture]:
        """In the order of the ids, which lie in one shard as a rule; not yet decoded."""
        stored = [self._find(image_id) for image_id in image_ids]
        return [Picture(image.bytes, image.part) for image in stored]

    def _find(self, image_id: str) -> StoredImage:
        path = self._shard[image_id]
        if path != self._open:
            self._open, self._stored = path, {image.image_id: image for image in read_images(path)}
        return self._stored[image_id]
