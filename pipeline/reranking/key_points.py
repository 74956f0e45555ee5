"""Key points of photographs and which of two photographs belong together; here by SIFT and its ratio test (Lowe, 2004)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.contracts.running.settings import settings
from pipeline.imaging.images import touched_pixels
from pipeline.maps.pictures import Pixels
from pipeline.stage.catalogue import Box


@dataclass(frozen=True)
class KeyPoints:
    """Key points of an image.

    Attributes:
        places: (n, 2) float32 x, y in pixels.
        descriptors: (n, D) float32.
        width, height: of the image in pixels.
    """

    places: npt.NDArray[np.float32]
    descriptors: npt.NDArray[np.float32]
    width: int
    height: int


class LocalFeatures(Protocol):
    """A way to find and to match key points."""

    @property
    def threads(self) -> int:
        """Photographs that are looked at at a time."""

    def key_points(self, pixels: Pixels, box: Box | None = None) -> KeyPoints:
        """The strongest of an RGB image (H, W, 3) uint8, those inside a box (x0, y0, x1, y1) alone."""

    def pairs(self, query: KeyPoints, image: KeyPoints) -> npt.NDArray[np.int64]:
        """(m, 2): key points of query and image that belong together, each of the image once."""


class Sift:
    """SIFT, and pairs whose distance is clearly the smallest.

    Args:
        most: key points of an image.
        ratio: of the distances of the nearest and the second nearest descriptor, at most.
    """

    def __init__(self, most: int, ratio: float) -> None:
        self.most, self.ratio = most, ratio

    @property
    def threads(self) -> int:
        return settings().threads

    def key_points(self, pixels: Pixels, box: Box | None = None) -> KeyPoints:
        grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
        mask = None
        if box is not None:
            mask = np.zeros_like(grey)
            left, top, right, bottom = touched_pixels(box, grey.shape[1], grey.shape[0])
            mask[top:bottom, left:right] = 255
        points, descriptors = cv2.SIFT.create(nfeatures=self.most).detectAndCompute(grey, mask)
        places = np.array([point.pt for point in points], np.float32).reshape(-1, 2)
        found = np.zeros((0, 128), np.float32) if descriptors is None else descriptors.astype(np.float32, copy=False)
        return KeyPoints(places, found, grey.shape[1], grey.shape[0])

    def pairs(self, query: KeyPoints, image: KeyPoints) -> npt.NDArray[np.int64]:
        if len(image.places) < 2 or not len(query.places):
            return np.zeros((0, 2), np.int64)
        return self._clearly_nearest(cv2.BFMatcher().knnMatch(query.descriptors, image.descriptors, k=2))

    def _clearly_nearest(self, candidates: Iterable[Any]) -> npt.NDArray[np.int64]:
        best: dict[int, tuple[float, int]] = {}
        for first, second in (pair for pair in candidates if len(pair) == 2):
            if first.distance < self.ratio * second.distance and first.distance < best.get(first.trainIdx, (np.inf, 0))[0]:
                best[first.trainIdx] = (first.distance, first.queryIdx)
        return np.array([(query, image) for image, (_, query) in best.items()], np.int64).reshape(-1, 2)
