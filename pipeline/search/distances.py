"""Distances between packed binary codes, and between real-valued descriptors."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.search.params import Distance
from pipeline.search.patch_matching import patch_distances
from pipeline.search.vector_scan import Score, dot

Codes = npt.NDArray[np.uint8]


def hamming_distances(queries: Codes, codes: Codes) -> npt.NDArray[np.int32]:
    """Bits that differ: (Q, B) and (N, B) uint8 to (Q, N) int32.

    Raises:
        ValueError: codes of different lengths.
    """
    if queries.shape[1] != codes.shape[1]:
        raise ValueError(f"codes of {8 * queries.shape[1]} and of {8 * codes.shape[1]} bits cannot be compared")
    import faiss

    library: Any = faiss  # its stubs leave out the array functions
    queries, codes = np.ascontiguousarray(queries), np.ascontiguousarray(codes)
    distances = np.empty((len(queries), len(codes)), np.int32)
    pointers = (library.swig_ptr(array) for array in (queries, codes))
    library.hammings(*pointers, len(queries), len(codes), queries.shape[1], library.swig_ptr(distances))
    return distances


def scoring(distance: Distance) -> Score:
    """What ranks whole-image descriptors by a distance: minus it, or the product."""
    if distance == "dot":
        return dot
    return lambda queries, vectors: -patch_distances(queries[:, None], vectors[:, None], distance)
