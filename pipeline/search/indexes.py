"""Indexes of a block of the database for the first k results."""

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt


def build_index(codes: npt.NDArray[np.uint8]) -> Any:
    """An exact faiss index of packed codes (N, B) by Hamming distance; of equal results the one that stands earlier comes first."""
    index = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index.add(np.ascontiguousarray(codes))
    return index
