"""Descriptor shards: one float32 vector per image, streamed block by block."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.manifest import load_manifest
from pipeline.contracts.tables import TableWriter, fixed_rows, open_writer, read_fixed_rows

KIND = "descriptors"
Floats = npt.NDArray[np.float32]


def _schema(dimensions: int) -> pa.Schema:
    return pa.schema([("image_id", pa.string()), ("vector", pa.binary(4 * dimensions))])


def descriptor_writer(path: Path, dimensions: int, **facts: Any) -> AbstractContextManager[TableWriter]:
    """A writer of one shard of vectors with `dimensions` values; give it `descriptor_columns`."""
    return open_writer(path, KIND, _schema(dimensions), dimensions=dimensions, dtype="float32", **facts)


def descriptor_columns(image_ids: list[str], vectors: Floats) -> dict[str, Any]:
    """Vectors (N, D) as columns of one row group."""
    return {"image_id": image_ids, "vector": fixed_rows(vectors.astype("<f4", copy=False))}


def read_descriptors(path: Path, block: int = 4096) -> Iterator[tuple[list[str], Floats]]:
    """Stream (image ids, vectors (n, D)) of a shard, at most `block` rows at a time."""
    return read_fixed_rows(path, KIND, "vector", np.dtype("<f4"), block)


def read_folder(folder: Path, prefix: str, block: int = 4096) -> Iterator[tuple[list[str], Floats]]:
    """Stream the shards of a descriptor folder whose names start with `prefix`: database-, queries-, held_out- or distractors-."""
    for path in load_manifest(folder, KIND).paths(folder, prefix):
        yield from read_descriptors(path, block)
