"""A collection for other programs: arrays with a table of metadata, a faiss index, a LanceDB table, a Hugging Face data set."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contracts.collection_rows import open_rows, product_codes
from pipeline.contracts.collections import CATALOGUE, INDEX, LISTS, Version, open_version, removed_images
from pipeline.contracts.features.product_codes import CodedRows
from pipeline.search.candidate_index import save_index
from pipeline.search.indexes import build_index
from pipeline.stage.checksums import verify
from pipeline.stage.errors import ParameterError
from pipeline.stage.tables import read_table

COLUMNS = ("image_id", "instance", "path", "sha256", "width", "height")
ROWS_PER_FILE = 1_000_000
BLOCK = 8192
FORMS = ("clip", "faiss", "lancedb", "datasets")


def export(collection: Path, target: Path, form: str) -> str:
    """Write a collection's rows in a form of FORMS into a new folder; returns what was written, for people.

    `clip` is the layout of clip-retrieval: img_emb/img_emb_N.npy and metadata/metadata_N.parquet. `faiss` is index.faiss and metadata.parquet,
    whose rows are the index's numbers. `lancedb` and `datasets` need the packages of these names.

    Raises:
        ParameterError: the folder is there already, an unknown form, or a package that is not installed.
        ShardError: no collection, or a damaged one.
    """
    writers: dict[str, Callable[[Version, Path], str]] = {"clip": _clip, "faiss": _faiss, "lancedb": _lancedb, "datasets": _datasets}
    if form not in writers:
        raise ParameterError(f"--form: {form!r} is unknown; there are: {', '.join(FORMS)}")
    if target.exists():
        raise ParameterError(f"{target}: is there already; name a folder that is not")
    return open_version(collection, lambda version: _whole(version, target, writers[form]))


def _whole(version: Version, target: Path, write: Callable[[Version, Path], str]) -> str:
    """Write into a folder that takes its name when all is there."""
    if removed := removed_images(version.folder):
        benchmark = version.facts.benchmark
        raise ParameterError(f"{benchmark}: {len(removed)} images were taken out since it was made; first `retrieval repro collection@{benchmark}`")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        said = write(version, partial)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return said


def _rows(version: Version) -> npt.NDArray[Any] | CodedRows:
    return open_rows(version.folder, product_codes(version))


def _metadata(version: Version) -> pa.Table:
    return read_table(version.folder / CATALOGUE, "catalogue").select(list(COLUMNS))


def _clip(version: Version, target: Path) -> str:
    rows, metadata = _rows(version), _metadata(version)
    for name in ("img_emb", "metadata"):
        (target / name).mkdir()
    for number, first in enumerate(range(0, len(rows), ROWS_PER_FILE)):
        np.save(target / "img_emb" / f"img_emb_{number}.npy", rows[first : first + ROWS_PER_FILE])
        own = metadata.slice(first, ROWS_PER_FILE)
        pq.write_table(own.append_column("image_path", own.column("path")), target / "metadata" / f"metadata_{number}.parquet")
    return f"{len(rows)} rows of {rows.shape[1:]} {rows.dtype}"


def _faiss(version: Version, target: Path) -> str:
    rows, source = _rows(version), version.folder / INDEX
    if source.exists():
        for own in filter(Path.exists, (source, source.with_name(LISTS))):
            verify(own)
            shutil.copyfile(own, target / own.name)
    elif isinstance(rows, np.ndarray) and rows.ndim == 2:
        save_index(build_index(rows), target / INDEX)
    else:
        raise ParameterError(f"{version.facts.benchmark}: patches are compared by a distance that faiss does not have; export them in the form clip")
    pq.write_table(_metadata(version), target / "metadata.parquet")
    return f"a {version.facts.index.kind} index of {len(rows)} rows"


def _lancedb(version: Version, target: Path) -> str:
    try:
        import lancedb
    except ImportError:
        raise ParameterError("--form lancedb needs the package: make extra PACKAGE=lancedb") from None
    lancedb.connect(str(target)).create_table("images", _batches(version))
    return "the table `images`, with the rows in the column `vector`"


def _datasets(version: Version, target: Path) -> str:
    try:
        import datasets
    except ImportError:
        raise ParameterError("--form datasets needs the package: make extra PACKAGE=datasets") from None
    tables = [pa.Table.from_batches([batch]) for batch in _batches(version)]
    datasets.Dataset(pa.concat_tables(tables), fingerprint=version.folder.name).save_to_disk(str(target))
    return "a data set, with the rows in the column `vector`"


def _batches(version: Version) -> Iterator[pa.RecordBatch]:
    """Metadata and rows, a list of fixed size per image; patches are laid one after the other."""
    rows, metadata = _rows(version), _metadata(version)
    width = int(np.prod(rows.shape[1:]))
    for first in range(0, len(rows), BLOCK):
        own = np.ascontiguousarray(rows[first : first + BLOCK]).reshape(-1)
        vector = pa.FixedSizeListArray.from_arrays(pa.array(own), width)
        table = metadata.slice(first, BLOCK).append_column("vector", vector).combine_chunks()
        yield from table.to_batches()
