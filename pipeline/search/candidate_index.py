"""Indexes that find candidates without comparing every row: built of rows block by block, learned on held-out rows alone, saved and mapped."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.contracts.collections import LISTS
from pipeline.contracts.descriptors import WHOLE, WHOLE_HELD_OUT, read_folder
from pipeline.search.collection_params import CollectionParameters, IndexKind
from pipeline.stage.checksums import verify
from pipeline.stage.errors import ModelError, ShardError

log = logging.getLogger(__name__)
Rows = npt.NDArray[Any]
PER_CENTROID = 39
"""Vectors to learn a centroid from, below which faiss warns."""
PQ_CENTROIDS = 256
LEARNING_ROWS = 200_000
BLOCK = 65536


def build_candidate_index(kind: IndexKind, parameters: CollectionParameters, rows: Rows, held_out: npt.NDArray[np.float32]) -> Any:
    """A faiss index of all rows.

    Args:
        rows: (N, D) float32, which are compared by their products, or codes (N, B) uint8.
        held_out: (H, D) float32 descriptors, for kinds that learn; none of the rows.

    Raises:
        ModelError: too few held-out descriptors for the kind.
    """
    index = _coded(parameters, rows) if rows.dtype == np.uint8 else _learned(kind, parameters, rows.shape, held_out)
    for block in _blocks(rows):
        index.add(block)
    return index


def _blocks(rows: Rows) -> Iterator[Rows]:
    for first in range(0, len(rows), BLOCK):
        yield np.ascontiguousarray(rows[first : first + BLOCK])


def _coded(parameters: CollectionParameters, rows: Rows) -> Any:
    import faiss

    bits, own = 8 * rows.shape[1], parameters.multi_index
    part = min(own.part_bits, bits)
    index = faiss.IndexBinaryMultiHash(bits, bits // part, part)
    index.nflip = own.radius
    return index


def _learned(kind: IndexKind, parameters: CollectionParameters, shape: tuple[int, ...], held_out: npt.NDArray[np.float32]) -> Any:
    import faiss

    dimensions, product = shape[1], faiss.METRIC_INNER_PRODUCT
    index: Any
    match kind:
        case "hnsw":
            graph = parameters.hnsw
            library: Any = faiss  # its stubs know no numbers for the kinds of quantisers
            index = library.IndexHNSWSQ(dimensions, faiss.ScalarQuantizer.QT_fp16, graph.neighbours, product)
            index.hnsw.efConstruction, index.hnsw.efSearch = graph.construction, graph.search
            index.is_trained = True  # half precision has nothing to learn
        case "scalar":
            types = {4: faiss.ScalarQuantizer.QT_4bit, 6: faiss.ScalarQuantizer.QT_6bit, 8: faiss.ScalarQuantizer.QT_8bit}
            index = faiss.IndexScalarQuantizer(dimensions, types[parameters.scalar.bits], product)
            _refuse_few(kind, held_out, 2)
            index.train(held_out)
        case "ivf_pq":
            index = learned_lists(parameters, shape, held_out)
        case _:
            raise ValueError(f"an index {kind!r} of descriptors is unknown; there are: hnsw, scalar, ivf_pq")
    return index


def learned_lists(parameters: CollectionParameters, shape: tuple[int, ...], held_out: npt.NDArray[np.float32]) -> Any:
    """An empty index for rows of a shape, lists and codes learned on the held-out descriptors; fewer lists, with a word, where these are too few."""
    import faiss

    own, (count, dimensions) = parameters.ivf_pq, shape
    _refuse_few("ivf_pq", held_out, PQ_CENTROIDS)
    possible = max(1, len(held_out) // PER_CENTROID)
    wanted = wanted_lists(parameters, count)
    lists = min(wanted, possible)
    if lists < wanted:
        log.warning("%d held-out descriptors give %d inverted lists, not %d; more of them are faster.", len(held_out), lists, wanted)
    parts = next(parts for parts in range(min(own.code_bytes, dimensions), 0, -1) if dimensions % parts == 0)
    quantizer = faiss.IndexFlatIP(dimensions)
    index: Any = faiss.IndexIVFPQ(quantizer, dimensions, lists, parts, 8, faiss.METRIC_INNER_PRODUCT)
    index.nprobe, index.cp.min_points_per_centroid, index.pq.cp.min_points_per_centroid = own.probes, 1, 1
    index.train(np.ascontiguousarray(held_out))
    return index


def wanted_lists(parameters: CollectionParameters, rows: int) -> int:
    """Of an index of inverted lists, where the held-out set gives as many."""
    return parameters.ivf_pq.lists or max(1, round(4 * rows**0.5))


def learning_rows(kind: IndexKind, parameters: CollectionParameters, rows: int) -> int:
    """Held-out descriptors that an index learns from at most."""
    return max(LEARNING_ROWS, PER_CENTROID * wanted_lists(parameters, rows)) if kind == "ivf_pq" else LEARNING_ROWS


def _refuse_few(kind: str, held_out: npt.NDArray[np.float32], needed: int) -> None:
    if len(held_out) < needed:
        raise ModelError(
            f"collection.index: {kind} is learned on held-out descriptors, and there are {len(held_out)} of at least {needed}; "
            "use more held-out images, or set it to hnsw or flat"
        )


def drawn(folder: Path, candidates: str | None, at_most: int = LEARNING_ROWS) -> npt.NDArray[np.float32]:
    """Held-out vectors (H, D) of data/descriptors/BENCHMARK, evenly spread where there are more than wanted; (0, 0) where there are none.

    Args:
        candidates: where images have patches, `search.candidates`: which of their vectors makes the shortlist.
    """
    prefix = f"{WHOLE_HELD_OUT if candidates else 'held_out'}-"
    total = sum(len(ids) for ids, _ in read_folder(folder, prefix))
    chosen = np.arange(min(total, at_most)) * total // max(min(total, at_most), 1)
    offset, kept = 0, []
    for ids, rows in read_folder(folder, prefix):
        first, last = np.searchsorted(chosen, (offset, offset + len(ids)))
        kept.append((rows[:, WHOLE[candidates]] if candidates else rows)[chosen[first:last] - offset])
        offset += len(ids)
    return np.ascontiguousarray(np.concatenate(kept)) if kept else np.empty((0, 0), np.float32)


def save_index(index: Any, path: Path) -> None:
    """Write an index to a file."""
    import faiss

    library: Any = faiss
    write = library.write_index_binary if isinstance(index, library.IndexBinary) else library.write_index
    write(index, str(path))


def load_index(path: Path, *, codes: bool) -> Any:
    """Read what `save_index` wrote; what can be mapped is mapped, LISTS next to it as well.

    Raises:
        ShardError: missing, or not the bytes that were written.
    """
    import faiss

    verify(path)
    library: Any = faiss
    try:
        if codes:
            return library.read_index_binary(str(path))
        if path.with_name(LISTS).exists():
            with library_is_quiet():  # it tells where it looks
                return library.read_index(str(path), library.IO_FLAG_ONDISK_SAME_DIR)
        return library.read_index(str(path), library.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise ShardError(f"{path}: not a readable index ({str(error).splitlines()[-1]}); make the collection again") from None


@contextlib.contextmanager
def library_is_quiet() -> Iterator[None]:
    """Send what a library writes to standard output, which belongs to answers, nowhere."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
