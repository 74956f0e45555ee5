"""Indexes of the database, or of a block of it, for the first k results."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

FEWEST_FOR_LISTS = 1000
"""Vectors below which inverted lists are not worth it, and every one is compared."""


def build_index(rows: npt.NDArray[np.uint8] | npt.NDArray[np.float32], kind: str = "flat", probes: int = 16) -> Any:
    """A faiss index of packed codes (N, B) by Hamming distance, or of vectors (N, D) by dot product; of equal results the earlier comes first.

    Args:
        kind: of vectors: `flat`, which is exact, or `inverted`: about √N lists around centroids learned from the vectors themselves.
        probes: lists that are looked at.
    """
    import faiss

    index: Any
    if rows.dtype == np.uint8:
        index = faiss.IndexBinaryFlat(8 * rows.shape[1])
    elif kind == "flat" or len(rows) < FEWEST_FOR_LISTS:
        index = faiss.IndexFlatIP(rows.shape[1])
    else:
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], round(len(rows) ** 0.5), faiss.METRIC_INNER_PRODUCT)
        index.nprobe = probes
        index.train(np.ascontiguousarray(rows))
    index.add(np.ascontiguousarray(rows))
    return index


def fill_index(blocks: Iterator[npt.NDArray[np.float32]], kind: str, probes: int) -> Any | None:
    """The index of a stream of vectors (n, D); None where it is empty. Block by block if it is flat; lists need all vectors to be learned."""
    if kind != "flat":
        rows = list(blocks)
        return build_index(np.concatenate(rows), kind, probes) if rows else None
    index = None
    for block in blocks:
        if index is None:
            index = build_index(block)
        else:
            index.add(np.ascontiguousarray(block))
    return index
