"""Image shards: upright, resized images as encoded bytes, row group by row group."""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.contracts.images.cells import Part
from pipeline.stage.manifest import Facts
from pipeline.stage.tables import TableWriter, open_table, open_writer

KIND = "images"
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("role", pa.string()),
        ("bytes", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("scale", pa.float64()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("centred", pa.bool_()),
        ("digest", pa.binary(32)),
        ("look", pa.binary()),
    ]
)
Grey = bytes
PART = ("x0", "y0", "x1", "y1", "centred")


class ImageFacts(Facts):
    """Of data/images/DATASET.

    Attributes:
        images: rows of the catalogue, unreadable ones included.
        source: of the data set.
        resize: the parameters that decide the stored images.
    """

    images: int
    unreadable: int
    source: str
    resize: dict[str, Any]


@dataclass(frozen=True)
class StoredImage:
    """One resized image.

    Attributes:
        bytes: PNG or JPEG.
        width, height: pixels of the resized image.
        scale: resized against original side.
        part: that shows the query's object, in resized pixels, where activations are to be cropped to it.
        look: 32×32 grey values, by which photographs that are the same are found; None where nobody looked.
        role: as the catalogue says it.
    """

    image_id: str
    bytes: bytes
    width: int
    height: int
    scale: float
    part: Part | None = None
    look: Grey | None = None
    role: str = "database"


class ImageSize(NamedTuple):
    """What a shard says of an image without its bytes; `digest` is their SHA-256."""

    image_id: str
    role: str
    width: int
    height: int
    part: Part | None
    digest: bytes


def image_writer(path: Path) -> AbstractContextManager[TableWriter]:
    """A writer of one shard; give it `image_columns`."""
    return open_writer(path, KIND, SCHEMA, raw_columns=["bytes"])


def image_columns(images: list[StoredImage]) -> dict[str, list[object]]:
    """Images as columns of a row group."""
    parts = [(*image.part.box, image.part.centred) if image.part else (None,) * 5 for image in images]
    columns: dict[str, list[object]] = {
        name: [getattr(image, name) for image in images] for name in ("image_id", "role", "bytes", "width", "height", "scale", "look")
    }
    columns |= {name: [part[index] for part in parts] for index, name in enumerate(PART)}
    return columns | {"digest": [hashlib.sha256(image.bytes).digest() for image in images]}


def read_images(path: Path, wanted: set[str] | None = None) -> Iterator[StoredImage]:
    """Stream a shard's images, or the wanted ones of them."""
    file = open_table(path, KIND)
    for group in range(file.num_row_groups):
        ids = file.read_row_group(group, columns=["image_id"]).column(0).to_pylist()
        if wanted is not None and wanted.isdisjoint(ids):
            continue
        for row in file.read_row_group(group).to_pylist():
            if wanted is None or row["image_id"] in wanted:
                part = _part(row)
                yield StoredImage(**{name: value for name, value in row.items() if name not in (*PART, "digest")}, part=part)


def read_sizes(path: Path) -> list[ImageSize]:
    """Of a shard's images, in their order."""
    rows = open_table(path, KIND).read(columns=["image_id", "role", "width", "height", *PART, "digest"]).to_pylist()
    return [ImageSize(row["image_id"], row["role"], row["width"], row["height"], _part(row), row["digest"]) for row in rows]


def read_looks(path: Path) -> dict[str, bytes]:
    """The grey values of a shard's images, by image id, as far as somebody looked."""
    table = open_table(path, KIND).read(columns=["image_id", "look"])
    pairs = zip(table.column("image_id").to_pylist(), table.column("look").to_pylist(), strict=True)
    return {image_id: look for image_id, look in pairs if look is not None}


def _part(row: dict[str, Any]) -> Part | None:
    return None if row["x0"] is None else Part((row["x0"], row["y0"], row["x1"], row["y1"]), row["centred"])
