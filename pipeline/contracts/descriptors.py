"""Descriptor shards: one float32 vector per image, or one per patch of an image with the patch's geometry, streamed block by block."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.manifest import load_manifest
from pipeline.contracts.tables import TableWriter, fixed_rows, open_table, open_writer, read_fixed_rows, table_facts

KIND = "descriptors"
GEOMETRY = ("level", "x0", "y0", "x1", "y1")
"""Columns of a patch: its level, and its box in pixels of the resized image."""
Floats = npt.NDArray[np.float32]


def _schema(dimensions: int, patches: int | None) -> pa.Schema:
    geometry = [(name, pa.int16() if name == "level" else pa.float32()) for name in GEOMETRY] if patches else []
    return pa.schema([("image_id", pa.string()), *geometry, ("vector", pa.binary(4 * dimensions))])


def descriptor_writer(path: Path, dimensions: int, patches: int | None = None, **facts: Any) -> AbstractContextManager[TableWriter]:
    """A writer of one shard of vectors with `dimensions` values; give it `descriptor_columns`.

    Args:
        patches: rows per image, where there is one per patch.
    """
    return open_writer(path, KIND, _schema(dimensions, patches), dimensions=dimensions, dtype="float32", patches=patches, **facts)


def descriptor_columns(image_ids: list[str], vectors: Floats, geometry: npt.NDArray[Any] | None = None) -> dict[str, Any]:
    """Vectors (N, D) as columns of one row group.

    Or those of patches (N, P, D) with their geometry (N, P, 5) in the order of GEOMETRY, image by image.
    """
    own = vectors.astype("<f4", copy=False)
    if geometry is None:
        return {"image_id": image_ids, "vector": fixed_rows(own)}
    rows = geometry.reshape(-1, len(GEOMETRY))
    columns = {name: rows[:, index].astype(np.int16 if name == "level" else np.float32) for index, name in enumerate(GEOMETRY)}
    repeated = [image_id for image_id in image_ids for _ in range(own.shape[1])]
    return {"image_id": repeated, **columns, "vector": fixed_rows(own.reshape(-1, own.shape[2]))}


def read_descriptors(path: Path, block: int = 4096) -> Iterator[tuple[list[str], Floats]]:
    """Stream (image ids, vectors (n, D)) of a shard, at most about `block` rows at a time; of patches, vectors (n, P, D)."""
    patches = table_facts(open_table(path, KIND))["patches"]
    if patches is None:
        yield from read_fixed_rows(path, KIND, "vector", np.dtype("<f4"), block)
        return
    for ids, vectors in read_fixed_rows(path, KIND, "vector", np.dtype("<f4"), max(1, block // patches) * patches):
        yield ids[::patches], vectors.reshape(-1, patches, vectors.shape[1])


def read_folder(folder: Path, prefix: str, block: int = 4096) -> Iterator[tuple[list[str], Floats]]:
    """Stream the shards of a descriptor folder whose names start with `prefix`: database-, queries-, held_out- or distractors-."""
    for path in load_manifest(folder, KIND).paths(folder, prefix):
        yield from read_descriptors(path, block)
