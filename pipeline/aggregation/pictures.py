"""The photographs behind feature maps, for describers that look at pixels as well."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.contracts.catalogue import Box
from pipeline.contracts.image_shards import KIND, StoredImage, read_images, read_sizes
from pipeline.contracts.manifest import load_manifest


@dataclass(frozen=True)
class Picture:
    """What the network was fed.

    Attributes:
        pixels: (rows, columns, 3) uint8 RGB.
        box: x0, y0, x1, y1 in pixels that the maps show; None for the whole image.
    """

    pixels: npt.NDArray[np.uint8]
    box: Box | None = None

    @property
    def shown(self) -> Box:
        rows, columns = self.pixels.shape[:2]
        return self.box or (0.0, 0.0, float(columns), float(rows))


class PictureReader:
    """Pictures of data/images/DATASET by id; the encoded images of one shard are held at a time."""

    def __init__(self, folder: Path, threads: int) -> None:
        shards = load_manifest(folder, KIND).paths(folder)
        self._shard = {image_id: path for path in shards for image_id, *_ in read_sizes(path)}
        self._open: Path | None = None
        self._stored: dict[str, StoredImage] = {}
        self._pool = ThreadPoolExecutor(threads)

    def pictures(self, image_ids: Sequence[str]) -> list[Picture]:
        """Decoded, in the order of the ids, which lie in one shard as a rule."""
        stored = [self._find(image_id) for image_id in image_ids]
        return list(self._pool.map(_decoded, stored))

    def _find(self, image_id: str) -> StoredImage:
        path = self._shard[image_id]
        if path != self._open:
            self._open, self._stored = path, {image.image_id: image for image in read_images(path)}
        return self._stored[image_id]


def _decoded(stored: StoredImage) -> Picture:
    with Image.open(io.BytesIO(stored.bytes)) as image:
        return Picture(np.asarray(image.convert("RGB")), stored.box)
