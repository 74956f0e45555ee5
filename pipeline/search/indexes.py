"""Indexes of a block of the database for the first k results."""

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt


def build_index(rows: npt.NDArray[Any]) -> Any:
    """An exact faiss index of rows (N, B) uint8: packed codes by Hamming distance; or (N, D) float32: vectors by dot product.

    Of equal results the one that stands earlier comes first.
    """
    index: Any = faiss.IndexBinaryFlat(8 * rows.shape[1]) if rows.dtype == np.uint8 else faiss.IndexFlatIP(rows.shape[1])
    index.add(np.ascontiguousarray(rows))
    return index
