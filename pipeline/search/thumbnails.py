"""Small pictures of a collection's images: made once, read by id."""

import hashlib
import io
import itertools
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from PIL import Image

from pipeline.contracts.executors.store import Store, digest_of, machine
from pipeline.contracts.images.image_shards import KIND, read_images
from pipeline.imaging.images import open_image, upright
from pipeline.stage.fingerprint import code_fingerprint
from pipeline.stage.manifest import load_manifest
from pipeline.stage.tables import open_table, open_writer, table_facts

PICTURES = "thumbnails"
SCHEMA = pa.schema([("image_id", pa.string()), ("jpeg", pa.binary())])
GROUP = 64
QUALITY = 80


def thumbnail(image: Image.Image, side: int) -> bytes:
    """An RGB image as a JPEG whose longer side has at most `side` pixels."""
    small = image.copy()
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def write_thumbnails(path: Path, images: Path, wanted: set[str], side: int) -> None:
    """Write those of the wanted images of data/images/DATASET; the store has those of earlier runs.

    Args:
        side: pixels of the longer side.
    """
    store, way = Store.open(), digest_of(side, QUALITY, code_fingerprint("imaging", "search"), machine()).hex()
    with open_writer(path, PICTURES, SCHEMA, raw_columns=["jpeg"], side=side) as writer:
        waiting = _stored(images, wanted)
        while some := list(itertools.islice(waiting, GROUP)):
            keys = [digest_of(way, hashlib.sha256(data).hexdigest()) for _, data in some]
            found = store.read(PICTURES, keys)
            made = {key: thumbnail(upright(open_image(data)), side) for key, (_, data) in zip(keys, some, strict=True) if key not in found}
            store.write(PICTURES, made)
            writer.write({"image_id": [image_id for image_id, _ in some], "jpeg": [(found | made)[key] for key in keys]})


def _stored(images: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    for path in load_manifest(images, KIND).paths(images):
        yield from ((stored.image_id, stored.bytes) for stored in read_images(path, wanted))


class Thumbnails:
    """A file that `write_thumbnails` wrote."""

    def __init__(self, path: Path) -> None:
        self._file = open_table(path, PICTURES)
        self.side = int(table_facts(self._file)["side"])
        self._turn = threading.Lock()

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where each image stands; groups have GROUP rows."""
        names = self._file.read(columns=["image_id"]).column(0).to_pylist()
        return {name: place for place, name in enumerate(names)}

    def read(self, image_ids: Sequence[str]) -> dict[str, bytes]:
        """The JPEG bytes of images, by id; several threads may read.

        Raises:
            KeyError: an image that is not in the file.
        """
        with self._turn:
            places = {image_id: self._places[image_id] for image_id in image_ids}
            groups = {group: self._file.read_row_group(group, columns=["jpeg"]).column(0) for group in {place // GROUP for place in places.values()}}
        return {image_id: groups[place // GROUP][place % GROUP].as_py() for image_id, place in places.items()}
