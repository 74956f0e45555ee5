"""Image shards: upright, resized images as encoded bytes, row group by row group."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.stage.catalogue import Box
from pipeline.stage.manifest import Facts
from pipeline.stage.tables import TableWriter, open_table, open_writer

KIND = "images"
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("bytes", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("scale", pa.float64()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
    ]
)


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
        box: part that shows the query's object, in resized pixels, where activations are to be cropped to it.
    """

    image_id: str
    bytes: bytes
    width: int
    height: int
    scale: float
    box: Box | None = None


def image_writer(path: Path) -> AbstractContextManager[TableWriter]:
    """A writer of one shard; give it `image_columns`."""
    return open_writer(path, KIND, SCHEMA, raw_columns=["bytes"])


def image_columns(images: list[StoredImage]) -> dict[str, list[object]]:
    """Images as columns of a row group."""
    boxes = [image.box or (None,) * 4 for image in images]
    columns: dict[str, list[object]] = {
        name: [getattr(image, name) for image in images] for name in ("image_id", "bytes", "width", "height", "scale")
    }
    return columns | {name: [box[index] for box in boxes] for index, name in enumerate(("x0", "y0", "x1", "y1"))}


def read_images(path: Path, wanted: set[str] | None = None) -> Iterator[StoredImage]:
    """Stream a shard's images, or the wanted ones of them."""
    file = open_table(path, KIND)
    for group in range(file.num_row_groups):
        ids = file.read_row_group(group, columns=["image_id"]).column(0).to_pylist()
        if wanted is not None and wanted.isdisjoint(ids):
            continue
        for row in file.read_row_group(group).to_pylist():
            if wanted is None or row["image_id"] in wanted:
                corners = tuple(row.pop(name) for name in ("x0", "y0", "x1", "y1"))
                yield StoredImage(**row, box=None if None in corners else corners)


def read_sizes(path: Path) -> list[tuple[str, int, int, Box | None]]:
    """(image_id, width, height, box) of a shard's images, without their bytes."""
    rows = open_table(path, KIND).read(columns=["image_id", "width", "height", "x0", "y0", "x1", "y1"]).to_pylist()
    return [
        (row["image_id"], row["width"], row["height"], None if row["x0"] is None else (row["x0"], row["y0"], row["x1"], row["y1"])) for row in rows
    ]
