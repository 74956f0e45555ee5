"""Photographs of a data set by index, in any order, without holding them in memory."""

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.contracts.images.image_shards import KIND, read_images
from pipeline.imaging.images import decode
from pipeline.stage.errors import ShardError
from pipeline.stage.manifest import load_manifest
from pipeline.stage.tables import replacing

PACKED, PLACES = "images.bin", "places.npy"


class Photographs:
    """Encoded photographs end to end in one file of the scratch folder, which the system keeps in memory as far as there is some.

    Parquet shards are read from beginning to end; training asks for one photograph after another, at random.
    """

    def __init__(self, folder: Path) -> None:
        self._places = np.load(folder / PLACES, allow_pickle=False)
        with (folder / PACKED).open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def image(self, index: int) -> Image.Image:
        """RGB."""
        begin, end = self._places[index]
        return Image.fromarray(decode(self._bytes[begin:end]))


def pack(images: Path, image_ids: Sequence[str], folder: Path) -> Photographs:
    """The photographs of data/images/DATASET with these ids, in their order; what an interrupted run packed is used again.

    Raises:
        ShardError: an id is in no shard.
    """
    if not (folder / PLACES).exists():
        with replacing(folder / PACKED) as partial:
            places = _write(images, image_ids, partial)
        with replacing(folder / PLACES) as partial, partial.open("wb") as file:
            np.save(file, places, allow_pickle=False)
    return Photographs(folder)


def _write(images: Path, image_ids: Sequence[str], target: Path) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    index = {image_id: place for place, image_id in enumerate(image_ids)}
    places = np.full((len(image_ids), 2), -1, np.int64)
    with target.open("wb") as file:
        for path in load_manifest(images, KIND).paths(images):
            for image in read_images(path, set(index)):
                begin = file.tell()
                file.write(image.bytes)
                places[index[image.image_id]] = begin, file.tell()
    missing = next((image_id for image_id, (begin, _) in zip(image_ids, places, strict=True) if begin < 0), None)
    if missing is not None:
        raise ShardError(f"{images}: {missing} is in no shard; run `dvc repro`")
    return places
