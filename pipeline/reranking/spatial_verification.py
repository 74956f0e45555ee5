"""Re-ranking by key points that one transformation brings from the query to the image: SIFT, ratio test and RANSAC (Philbin et al., 2007)."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.contracts.images.image_shards import StoredImage
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.settings import settings
from pipeline.imaging.images import decode
from pipeline.maps.pictures import Pixels
from pipeline.reranking.content import Content
from pipeline.reranking.params import SpatialVerificationParameters
from pipeline.reranking.shortlists import Reranker, Rescored, Shortlists

SMALLEST = {"affine": 3, "homography": 4}
"""Matches that decide a transformation."""


@dataclass(frozen=True)
class KeyPoints:
    """SIFT key points of an image.

    Attributes:
        places: (n, 2) float32 x, y in pixels.
        descriptors: (n, 128) float32.
        width, height: of the image in pixels.
    """

    places: npt.NDArray[np.float32]
    descriptors: npt.NDArray[np.float32]
    width: int
    height: int


@dataclass(frozen=True)
class Verified:
    """Inliers of an image, and the box (x0, y0, x1, y1) around them in shares of its sides; none where nothing is verified."""

    inliers: int
    box: tuple[float, float, float, float] | None


class SpatialVerifier(Reranker):
    """Every shortlisted photograph is looked at once, for all queries that want it."""

    def __init__(self, parameters: SpatialVerificationParameters, content: Content) -> None:
        self.parameters, self.content = parameters, content

    def rescore(self, shortlists: Shortlists) -> Rescored:
        queries, length = set(shortlists.query_ids), self.parameters.key_points
        own = {stored.image_id: _key_points(stored, length) for stored in self.content.photographs(queries)}
        wanted = shortlists.wanted()
        shape = shortlists.scores.shape
        inliers, boxes = np.zeros(shape, np.float32), np.full((*shape, 4), np.nan, np.float32)

        def verify_all(stored: StoredImage) -> list[tuple[int, int, Verified]]:
            seen = _key_points(stored, length)
            return [(query, place, verify(own[shortlists.query_ids[query]], seen, self.parameters)) for query, place in wanted[stored.image_id]]

        with ThreadPoolExecutor(settings().threads) as pool, Progress("spatial verification", len(wanted), "images") as progress:
            photographs = self.content.photographs(set(wanted))
            while some := list(islice(photographs, 4 * settings().threads)):
                for found in pool.map(verify_all, some):
                    for query, place, verified in found:
                        if verified.box is not None:
                            inliers[query, place], boxes[query, place] = verified.inliers, verified.box
                    progress.advance()
        order = 1 - np.arange(shape[1], dtype=np.float32) / shape[1]  # of the first step, among images of as many inliers
        return Rescored(inliers + 0.5 * order, boxes)


def _key_points(stored: StoredImage, most: int) -> KeyPoints:
    """Of a stored image, inside its box where it has one."""
    return key_points(decode(stored.bytes), most, stored.part.box if stored.part else None)


def key_points(pixels: Pixels, most: int, box: tuple[float, float, float, float] | None = None) -> KeyPoints:
    """The strongest `most` key points of an RGB image (H, W, 3) uint8, those inside a box (x0, y0, x1, y1) alone."""
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    mask = None
    if box is not None:
        mask = np.zeros_like(grey)
        mask[max(int(box[1]), 0) : int(np.ceil(box[3])), max(int(box[0]), 0) : int(np.ceil(box[2]))] = 255
    points, descriptors = cv2.SIFT.create(nfeatures=most).detectAndCompute(grey, mask)
    places = np.array([point.pt for point in points], np.float32).reshape(-1, 2)
    found = np.zeros((0, 128), np.float32) if descriptors is None else descriptors.astype(np.float32, copy=False)
    return KeyPoints(places, found, grey.shape[1], grey.shape[0])


def verify(query: KeyPoints, image: KeyPoints, parameters: SpatialVerificationParameters) -> Verified:
    """Match a query with an image, and count what one transformation explains; the same every time."""
    nothing = Verified(0, None)
    least = max(parameters.inliers, SMALLEST[parameters.transformation])
    if len(query.places) < least or len(image.places) < 2:
        return nothing
    pairs = _matches(cv2.BFMatcher().knnMatch(query.descriptors, image.descriptors, k=2), parameters.ratio)
    if len(pairs) < least:
        return nothing
    source, target = query.places[pairs[:, 0]], image.places[pairs[:, 1]]
    options: Any = {"method": cv2.RANSAC, "ransacReprojThreshold": parameters.threshold}
    estimate: Any = {"affine": cv2.estimateAffine2D, "homography": cv2.findHomography}[parameters.transformation]
    matrix, mask = estimate(source, target, **options)
    inside = np.zeros(len(pairs), bool) if mask is None else mask.ravel().astype(bool)
    if matrix is None or inside.sum() < least or abs(np.linalg.det(matrix[:2, :2])) < 1e-3:
        return nothing
    (x0, y0), (x1, y1) = target[inside].min(axis=0), target[inside].max(axis=0)
    return Verified(int(inside.sum()), (float(x0) / image.width, float(y0) / image.height, float(x1) / image.width, float(y1) / image.height))


def _matches(candidates: Iterable[Any], ratio: float) -> npt.NDArray[np.int64]:
    """(m, 2): key points of query and image whose distance is clearly the smallest, each of the image once."""
    best: dict[int, tuple[float, int]] = {}
    for first, second in (pair for pair in candidates if len(pair) == 2):
        if first.distance < ratio * second.distance and first.distance < best.get(first.trainIdx, (np.inf, 0))[0]:
            best[first.trainIdx] = (first.distance, first.queryIdx)
    return np.array([(query, image) for image, (_, query) in best.items()], np.int64).reshape(-1, 2)
