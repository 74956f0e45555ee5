"""SIFT descriptors of the part of a photograph that a map shows (Lowe, 2004), as RootSIFT where wanted (Arandjelović and Zisserman, 2012)."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.maps.pictures import Picture

Descriptors = npt.NDArray[np.float32]
DIMENSIONS = 128


def sift_descriptors(picture: Picture, height: int, width: int, most: int, root: bool) -> Descriptors:
    """Descriptors (n, 128) of the strongest key points.

    Args:
        height, width: of the map.
        most: key points.
        root: each divided by its sum, and the square root taken.
    """
    pixels = picture.pixels
    x0, y0, x1, y1 = (round(corner) for corner in picture.shown(pixels, height, width))
    grey = cv2.cvtColor(np.ascontiguousarray(pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]), cv2.COLOR_RGB2GRAY)
    found: Any = cv2.SIFT.create(most).detectAndCompute(grey, None)[1]
    if found is None:
        return np.zeros((0, DIMENSIONS), np.float32)
    values: Descriptors = found.astype(np.float32)
    if root:
        values = np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1e-12))
    return values
