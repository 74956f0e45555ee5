"""Thumbnails of stored images as data addresses, so that the page is one file."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.contracts.images.image_shards import KIND, read_images
from pipeline.look.templates import data_address
from pipeline.stage.manifest import load_manifest

OPACITY = 160
"""Of a map over a photograph, of 255."""


def thumbnails(folder: Path, wanted: set[str], side: int) -> dict[str, str]:
    """`data:` addresses of JPEG thumbnails by image id.

    Args:
        folder: data/images/DATASET.
        side: pixels of the longer side.
    """
    return {image_id: _address(data, side) for image_id, data in stored_bytes(folder, wanted).items()}


def stored_bytes(folder: Path, wanted: set[str]) -> dict[str, bytes]:
    """The encoded images of data/images/DATASET by id, as they are stored."""
    if not wanted:
        return {}
    return {stored.image_id: stored.bytes for path in load_manifest(folder, KIND).paths(folder) for stored in read_images(path, wanted)}


def _address(data: bytes, side: int) -> str:
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
    small.thumbnail((side, side))
    return jpeg_address(small)


def laid_over(photograph: Image.Image, colours: npt.NDArray[np.float64], *, smooth: bool, shown: npt.NDArray[np.bool_] | None = None) -> Image.Image:
    """A photograph with the colours of a map over it, through which it can be seen.

    Args:
        colours: (H, W, 3) from 0 to 1, of a map of any size.
        smooth: between the map's cells; else cell by cell.
        shown: cells (H, W) that have a colour; all where None.
    """
    way = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    tint = Image.fromarray((255 * colours).round().astype(np.uint8)).resize(photograph.size, way)
    cells = np.full(colours.shape[:2], OPACITY) if shown is None else np.where(shown, OPACITY, 0)
    return Image.composite(tint, photograph, Image.fromarray(cells.astype(np.uint8)).resize(photograph.size, Image.Resampling.NEAREST))


def jpeg_address(image: Image.Image) -> str:
    """A picture as a `data:` address."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return data_address(buffer.getvalue())
