"""Indexes of the database, or of a block of it, for the first k results."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.stage.errors import ModelError

FEWEST_FOR_LISTS = 1000
"""Vectors below which inverted lists are not worth it, and every one is compared."""
PER_LIST = 39
"""Held-out vectors that a list is learned from at least."""
Floats = npt.NDArray[np.float32]


def build_index(rows: npt.NDArray[np.uint8] | Floats) -> Any:
    """A faiss index of packed codes (N, B) by Hamming distance, or of vectors (N, D) by dot product; of equal results the earlier comes first."""
    import faiss

    index: Any = faiss.IndexBinaryFlat(8 * rows.shape[1]) if rows.dtype == np.uint8 else faiss.IndexFlatIP(rows.shape[1])
    index.add(np.ascontiguousarray(rows))
    return index


def build_inverted(images: int, held_out: Floats, probes: int) -> Any:
    """An empty faiss index of about √N inverted lists for N vectors by dot product.

    Args:
        held_out: (H, D) vectors that the lists are learned on; none of the database.
        probes: lists that are looked at.

    Raises:
        ModelError: too few held-out vectors for two lists.
    """
    import faiss

    lists = min(round(images**0.5), len(held_out) // PER_LIST)
    if lists < 2:
        raise ModelError(
            f"search.index: inverted lists are learned on held-out images, and there are {len(held_out)} of at least {2 * PER_LIST}; "
            "name a larger held_out, or set it to flat"
        )
    index: Any = faiss.IndexIVFFlat(faiss.IndexFlatIP(held_out.shape[1]), held_out.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = probes
    index.train(np.ascontiguousarray(held_out))
    return index


def fill_index(blocks: Iterator[Floats], kind: str, probes: int, images: int, held_out: Floats | None) -> Any | None:
    """The index of a stream of vectors (n, D), block by block; None where it is empty.

    Args:
        kind: `flat`, which is exact, or `inverted`, for FEWEST_FOR_LISTS images at least.
        images: that the stream has.
        held_out: what `inverted` learns on.
    """
    index = None
    for block in blocks:
        if index is None and kind == "inverted" and images >= FEWEST_FOR_LISTS:
            index = build_inverted(images, np.empty((0, block.shape[1]), np.float32) if held_out is None else held_out, probes)
        if index is None:
            index = build_index(block)
        else:
            index.add(np.ascontiguousarray(block))
    return index
