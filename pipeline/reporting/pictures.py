"""Pictures of queries and results in reports/pictures, which the page loads when somebody looks at them."""

import hashlib
import io
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from pipeline.contracts.images.image_shards import KIND, read_images
from pipeline.contracts.running.settings import settings
from pipeline.stage.manifest import load_manifest
from pipeline.stage.places import CATALOGUE
from pipeline.stage.tables import open_table

QUALITY = 80
AT_ONCE = 256
"""Photographs in memory."""


def picture_name(dataset: str, image_id: str) -> str:
    """Where the picture of an image lies below the folder; no id can be read as another path."""
    return f"{dataset}/{hashlib.sha256(image_id.encode()).hexdigest()[:20]}.jpg"


def files_of(images: Path, wanted: set[str]) -> dict[str, str]:
    """The files that images of data/images/DATASET came from, by id; those of other data sets are left out."""
    table = open_table(images / CATALOGUE, "catalogue").read(columns=["image_id", "path"])
    own = table.filter(pc.is_in(table["image_id"], pa.array(sorted(wanted), pa.string())))
    return dict(zip(own["image_id"].to_pylist(), own["path"].to_pylist(), strict=True))


def write_pictures(folder: Path, wanted: Mapping[Path, set[str]], side: int) -> int:
    """Write pictures as JPEG; the folder appears when all are there. Returns their number.

    Args:
        wanted: image ids by data/images/DATASET; a data set has only those that are its own.
        side: pixels of the longer side at most; no picture is enlarged.
    """
    count = 0
    with _fresh(folder) as staging, ThreadPoolExecutor(settings().threads) as pool:
        for images, ids in wanted.items():
            (staging / images.name).mkdir()
            stored = _stored(images, ids)
            while some := list(itertools.islice(stored, AT_ONCE)):
                for _ in pool.map(partial(_write, staging, images.name, side), some):
                    count += 1
    return count


def _stored(images: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    for path in load_manifest(images, KIND).paths(images) if wanted else ():
        yield from ((stored.image_id, stored.bytes) for stored in read_images(path, wanted))


def _write(folder: Path, dataset: str, side: int, stored: tuple[str, bytes]) -> None:
    image_id, data = stored
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (side, side))  # decodes a large JPEG at half its size or less
        small = image.convert("RGB")
    small.thumbnail((side, side))
    small.save(folder / picture_name(dataset, image_id), "JPEG", quality=QUALITY)


@contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes the place of `folder` when the block ends well."""
    for leftover in folder.parent.glob(f".{folder.name}.*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    staging.mkdir(parents=True)
    try:
        yield staging
        if folder.exists():
            shutil.rmtree(folder)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
