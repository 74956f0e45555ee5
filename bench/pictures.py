"""Photographs for the benchmarks: those of RETRIEVAL_DATA where it is set, else of the embedded museum."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from pipeline.acquisition.packing import KIND as RAW
from pipeline.acquisition.params import dataset_from
from pipeline.contracts.images.image_shards import KIND, StoredImage, image_columns, image_writer
from pipeline.contracts.running.settings import settings
from pipeline.imaging.images import encode, target_size
from pipeline.stage.manifest import Manifest, describe_parts

PER_SHARD = 64


def photographs(count: int, side: int) -> Iterator[tuple[str, Image.Image]]:
    """(id, image with its longest side of `side` pixels), at mixed aspect ratios."""
    folder = settings().data
    files = sorted(folder.rglob("*.jpg"))[:count] if folder != Path() else []
    sources = [file.read_bytes() for file in files] or list(_museum())
    for index in range(count):
        image = Image.open(io.BytesIO(sources[index % len(sources)])).convert("RGB")
        width, height = image.size
        if not files:  # the museum's photographs are all alike: cut some to other ratios
            image = image.crop((0, 0, width - index % 3 * width // 5, height - index % 2 * height // 6))
        yield f"i{index:05d}", image.resize(target_size(*image.size, "longest_side", side, True))


def _museum() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        museum = dataset_from({"source": "gallery", "instances": 16, "references": 2, "queries": 1, "held_out": 1}, "bench", "bench")
        Manifest(RAW, describe_parts(Path(folder), museum.make(Path(folder)))).save(Path(folder))
        for photo in museum.photographs(Path(folder)):
            yield photo.data


def store(folder: Path, count: int, side: int) -> list[str]:
    """Write image shards as the resize stage does; returns the ids."""
    folder.mkdir(parents=True)
    images = list(photographs(count, side))
    names: list[str] = []
    for first in range(0, count, PER_SHARD):
        names.append(f"part-{len(names):05d}.parquet")
        with image_writer(folder / names[-1]) as writer:
            for group in range(first, min(first + PER_SHARD, count), 16):
                chosen = images[group : min(group + 16, first + PER_SHARD)]
                writer.write(image_columns([StoredImage(name, encode(image), image.width, image.height, 1.0) for name, image in chosen]))
    Manifest(KIND, describe_parts(folder, names)).save(folder)
    return [name for name, _ in images]
