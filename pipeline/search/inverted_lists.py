"""An index of inverted lists made part by part: whoever works turns vectors into list numbers and codes, which are put together in their order.

A part is the vectors of one bucket. The index is that of adding all vectors one after the other, byte for byte. Where it has more than
IN_MEMORY vectors it is put together on disk: lists of some parts after the other, then lists of all in one file that is mapped.
"""

import hashlib
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.contracts.collections import LISTS, map_rows
from pipeline.contracts.executors.executing import Done, Place, Worker, run_tasks
from pipeline.contracts.executors.store import Store, digest_of, machine
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.search.candidate_index import library_is_quiet, save_index
from pipeline.stage.fingerprint import code_fingerprint, file_sha256
from pipeline.stage.tables import replacing

PARTS = "index_parts"
"""Kind of entries in the store."""
TRAINED = "trained.faiss"
IN_MEMORY = 4_000_000
"""Vectors whose lists are put together in memory: 72 bytes each, with codes of 64 bytes."""


@dataclass(frozen=True)
class ListTask:
    """Some rows, from the first on."""

    first: int
    images: int

    @property
    def name(self) -> str:
        return f"rows-{self.first:012d}"

    @property
    def reads(self) -> tuple[Path, ...]:
        return ()


@dataclass(frozen=True)
class Listing:
    """Work: list numbers and codes of a file of rows, by the index that lies in the place's folder.

    Attributes:
        rows: the file.
        trained: digest of the index.
    """

    rows: Path
    trained: str
    on_gpu: bool = False

    def reads(self, folder: Path) -> tuple[Path, ...]:
        return folder / TRAINED, self.rows

    def open(self, place: Place) -> Worker:
        import faiss

        faiss.omp_set_num_threads(place.threads)
        index: Any = faiss.read_index(str(place.folder / TRAINED))
        rows, store = map_rows(self.rows), Store.open()
        way = digest_of(self.trained, code_fingerprint("search"), machine()).hex()

        def encode(task: ListTask) -> Done:
            own = np.ascontiguousarray(rows[task.first : task.first + task.images])
            key = digest_of(way, hashlib.sha256(own.tobytes()).hexdigest())
            known = store.read(PARTS, [key])
            data = known[key] if known else _as_bytes(index.sa_encode(own))
            if not known:
                store.write(PARTS, {key: data})
            with replacing(place.folder / f"{task.name}.npy") as partial:
                partial.write_bytes(data)
            fresh = 0 if known else task.images
            place.advance(fresh, task.images - fresh)
            return Done([f"{task.name}.npy"], task.images, fresh, {})

        return encode


def write_inverted(path: Path, empty: Any, rows: Path, counts: Sequence[int], store: ScratchStore) -> None:
    """Write the index of all rows of a file, and LISTS next to it where the lists are in a file of their own.

    Args:
        empty: a faiss index of inverted lists that has learned and holds nothing.
        rows: (N, D) float32.
        counts: rows of each part.
        store: takes what is unfinished.
    """
    trained = store.path(TRAINED)
    if not trained.exists():
        with replacing(trained) as partial:
            save_index(empty, partial)
    firsts = np.concatenate([[0], np.cumsum(counts)]).tolist()
    tasks = [ListTask(first, count) for first, count in zip(firsts, counts, strict=False) if count]
    with Progress("index", sum(counts), "rows") as progress:
        receipts = run_tasks(Listing(rows, file_sha256(trained)), tasks, store, progress)
    parts = [store.path(file) for receipt in receipts for file in receipt.files]
    _put_together(path, empty, parts, store.path("lists"))
    shutil.rmtree(store.home)


def _put_together(path: Path, index: Any, parts: Sequence[Path], groups: Path) -> None:
    shutil.rmtree(groups, ignore_errors=True)
    groups.mkdir()
    files: list[str] = []
    first = 0
    for place, part in enumerate(parts, 1):
        codes: npt.NDArray[np.uint8] = np.load(part)
        index.add_sa_codes(codes, np.arange(first, first + len(codes), dtype=np.int64))
        first += len(codes)
        if index.ntotal >= IN_MEMORY and (place < len(parts) or files):
            files.append(_set_aside(index, groups / f"{len(files):05d}.faiss"))
    if not files:
        save_index(index, path)
        return
    if index.ntotal:
        files.append(_set_aside(index, groups / f"{len(files):05d}.faiss"))
    import faiss
    from faiss.contrib.ondisk import merge_ondisk

    with library_is_quiet():
        merge_ondisk(index, files, str(path.with_name(LISTS)))
    lists: Any = faiss.downcast_InvertedLists(index.invlists)
    lists.filename = LISTS
    save_index(index, path)


def _set_aside(index: Any, path: Path) -> str:
    """Write the index and empty it."""
    save_index(index, path)
    index.reset()
    return str(path)


def _as_bytes(values: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()
