"""Indexes of the database, or of a block of it, for the first k results."""

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

FEWEST_FOR_LISTS = 1000
"""Vectors below which inverted lists are not worth it, and every one is compared."""


def build_index(rows: npt.NDArray[np.uint8] | npt.NDArray[np.float32], kind: str = "flat", probes: int = 16) -> Any:
    """A faiss index of packed codes (N, B) by Hamming distance, or of vectors (N, D) by dot product.

    Args:
        kind: of vectors: `flat`, which is exact, or `inverted`: about √N lists around centroids learned from the vectors themselves.
        probes: lists that are looked at.
    """
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
