"""Parquet files of the project: written under a temporary name and renamed, deterministic bytes, kind and version in the schema's metadata."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.stage.checksums import verify
from pipeline.stage.errors import ShardError

VERSION = 1


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path next to `path` that takes its name when the block ends well, and is removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class TableWriter:
    """Writes one Parquet file of a kind, row group by row group; use as a context manager through `open_writer`."""

    def __init__(self, path: Path, schema: pa.Schema, raw_columns: Iterable[str] = ()) -> None:
        compression = {name: "NONE" if name in set(raw_columns) else "ZSTD" for name in schema.names}
        self._writer = pq.ParquetWriter(path, schema, compression=compression, use_dictionary=False, write_statistics=False)
        self.schema = schema
        self.rows = 0

    def write(self, columns: dict[str, Any]) -> None:
        """Write one row group."""
        table = pa.table(columns, schema=self.schema)
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        self.rows += table.num_rows

    def close(self) -> None:
        self._writer.close()


@contextmanager
def open_writer(path: Path, kind: str, schema: pa.Schema, raw_columns: Iterable[str] = (), **facts: Any) -> Iterator[TableWriter]:
    """Write a table of `kind` to `path`, which appears only when the block ends well.

    Args:
        raw_columns: columns that are compressed already.
        facts: what the schema's metadata shall say besides kind and version (JSON values).
    """
    meta = {"kind": kind, "version": VERSION, **facts}
    encoded = {key: json.dumps(value, sort_keys=True) for key, value in sorted(meta.items())}
    with replacing(path) as partial:
        writer = TableWriter(partial, schema.with_metadata(encoded), raw_columns)
        try:
            yield writer
        finally:
            writer.close()


def write_table(path: Path, kind: str, schema: pa.Schema, columns: dict[str, Any], **facts: Any) -> None:
    """Write a small table at once."""
    with open_writer(path, kind, schema, **facts) as writer:
        writer.write(columns)


def open_table(path: Path, kind: str) -> pq.ParquetFile:
    """Open a table and check that it is one of this kind and version.

    Raises:
        ShardError: missing, damaged, or of another kind or version.
    """
    verify(path)
    try:
        file = pq.ParquetFile(path, memory_map=True)
        meta = table_facts(file)
    except FileNotFoundError:
        raise ShardError(f"{path}: not found; run the stage that makes it with `dvc repro`") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ShardError(f"{path}: not a readable Parquet file ({reason}); remove it and run `dvc repro` again") from None
    if meta.get("kind") != kind or meta.get("version") != VERSION:
        found = f"{meta.get('kind', 'an unknown kind')} version {meta.get('version', '?')}"
        raise ShardError(f"{path}: holds {found}, expected {kind} version {VERSION}")
    return file


def table_facts(file: pq.ParquetFile) -> dict[str, Any]:
    """The JSON values of the schema's metadata."""
    raw = file.schema_arrow.metadata or {}
    try:
        return {key.decode(): json.loads(value) for key, value in raw.items() if not key.startswith(b"ARROW")}
    except (ValueError, RecursionError):
        return {}  # another program's, of an unknown kind


def read_table(path: Path, kind: str) -> pa.Table:
    """Read a small table whole."""
    return open_table(path, kind).read()


def fixed_rows(values: npt.NDArray[Any]) -> pa.FixedSizeBinaryArray:
    """The rows of (N, D) little-endian values as one column of fixed-size binary."""
    width = values.shape[1] * values.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [None, pa.py_buffer(np.ascontiguousarray(values).tobytes())])


def read_fixed_rows(path: Path, kind: str, name: str, dtype: np.dtype[Any], block: int) -> Iterator[tuple[list[str], npt.NDArray[Any]]]:
    """Stream (image ids, values (n, D)) of the fixed-size column `name`, at most `block` rows at a time, without copying.

    Raises:
        ShardError: missing, damaged, or of another kind.
    """
    for batch in open_table(path, kind).iter_batches(batch_size=block):
        column = batch.column(name)
        width = column.type.byte_width
        values = width // dtype.itemsize
        flat = np.frombuffer(column.buffers()[1], dtype, len(column) * values, column.offset * width)
        yield batch.column("image_id").to_pylist(), flat.reshape(len(column), values)


def gathered(blocks: Iterable[tuple[list[str], npt.NDArray[Any]]], rows: int) -> Iterator[tuple[list[str], npt.NDArray[Any]]]:
    """Blocks of (image ids, values) put together, so that each but the last has at least `rows` rows."""
    ids: list[str] = []
    parts: list[npt.NDArray[Any]] = []
    for own, values in blocks:
        ids += own
        parts.append(values)
        if len(ids) >= rows:
            yield ids, np.concatenate(parts) if len(parts) > 1 else parts[0]
            ids, parts = [], []
    if ids:
        yield ids, np.concatenate(parts) if len(parts) > 1 else parts[0]


def read_ids(path: Path, kind: str) -> list[str]:
    """The image ids of a table, without its other columns."""
    ids: list[str] = open_table(path, kind).read(columns=["image_id"]).column(0).to_pylist()
    return ids


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys and a final newline, under a temporary name first."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file of the project.

    Raises:
        ShardError: missing or damaged.
    """
    verify(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ShardError(f"{path}: not found; run the stage that makes it with `dvc repro`") from None
    except (ValueError, RecursionError) as error:
        raise ShardError(f"{path}: not valid JSON ({error}); remove it and run `dvc repro` again") from None
