"""Re-ranking by key points that one transformation brings from the query to the image: SIFT or learned ones, and RANSAC (Philbin et al., 2007)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np

from pipeline.contracts.images.image_shards import StoredImage
from pipeline.contracts.running.progress import Progress
from pipeline.imaging.images import decode
from pipeline.reranking.content import Content
from pipeline.reranking.key_points import KeyPoints, LocalFeatures, Sift
from pipeline.reranking.params import SpatialVerificationParameters
from pipeline.reranking.shortlists import Reranker, Rescored, Shortlists

SMALLEST = {"affine": 3, "homography": 4}
"""Matches that decide a transformation."""


@dataclass(frozen=True)
class Verified:
    """Inliers of an image, and the box (x0, y0, x1, y1) around them in shares of its sides; none where nothing is verified."""

    inliers: int
    box: tuple[float, float, float, float] | None


class SpatialVerifier(Reranker):
    """Every shortlisted photograph is looked at once, for all queries that want it."""

    def __init__(self, parameters: SpatialVerificationParameters, content: Content) -> None:
        self.parameters, self.content = parameters, content
        self.features = local_features(parameters, content)

    def rescore(self, shortlists: Shortlists) -> Rescored:
        queries = set(shortlists.query_ids)
        own = {stored.image_id: self._key_points(stored) for stored in self.content.photographs(queries)}
        wanted = shortlists.wanted()
        shape = shortlists.scores.shape
        inliers, boxes = np.zeros(shape, np.float32), np.full((*shape, 4), np.nan, np.float32)

        def verify_all(stored: StoredImage) -> list[tuple[int, int, Verified]]:
            seen = self._key_points(stored)
            asking = wanted[stored.image_id]
            return [(query, place, verify(self.features, own[shortlists.query_ids[query]], seen, self.parameters)) for query, place in asking]

        threads = self.features.threads
        with ThreadPoolExecutor(threads) as pool, Progress("spatial verification", len(wanted), "images") as progress:
            photographs = self.content.photographs(set(wanted))
            while some := list(islice(photographs, 4 * threads)):
                for found in pool.map(verify_all, some):
                    for query, place, verified in found:
                        if verified.box is not None:
                            inliers[query, place], boxes[query, place] = verified.inliers, verified.box
                    progress.advance()
        order = 1 - np.arange(shape[1], dtype=np.float32) / shape[1]  # of the first step, among images of as many inliers
        return Rescored(inliers + 0.5 * order, boxes)

    def _key_points(self, stored: StoredImage) -> KeyPoints:
        """Of a stored image, inside its box where it has one."""
        return self.features.key_points(decode(stored.bytes), stored.part.box if stored.part else None)


def local_features(parameters: SpatialVerificationParameters, content: Content) -> LocalFeatures:
    """The way to find and match key points that the parameters name."""
    if parameters.local_features == "sift":
        return Sift(parameters.key_points, parameters.ratio)
    from pipeline.reranking.learned_features import LearnedFeatures

    return LearnedFeatures(parameters, content.device, content.weights)


def verify(features: LocalFeatures, query: KeyPoints, image: KeyPoints, parameters: SpatialVerificationParameters) -> Verified:
    """Match a query with an image, and count what one transformation explains; the same every time."""
    nothing = Verified(0, None)
    least = max(parameters.inliers, SMALLEST[parameters.transformation])
    if len(query.places) < least or len(image.places) < least:
        return nothing
    pairs = features.pairs(query, image)
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
