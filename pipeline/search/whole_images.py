"""One vector per image from those of its patches, by which a shortlist is made."""

import numpy as np
import numpy.typing as npt

TINY = np.float32(1e-30)


def whole_image(patches: npt.NDArray[np.float32], how: str) -> npt.NDArray[np.float32]:
    """One vector per image from its patches (N, P, D): the first, which is the whole image, or the sum of all; l2-normalised, (N, D)."""
    match how:
        case "whole_image":
            vectors = patches[:, 0]
        case "sum":
            vectors = patches.sum(axis=1)
        case _:
            raise ValueError(f"candidates by {how!r} are unknown; there are: sum, whole_image")
    return np.ascontiguousarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), TINY))
