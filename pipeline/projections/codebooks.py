"""Codebooks of local features: k-means centroids and Gaussian mixtures, learned on the processor, the same for the same seed."""

from dataclasses import dataclass
from typing import Any, ClassVar

import faiss
import numpy as np
import torch

from pipeline.contracts.models import Learned
from pipeline.stage.errors import ModelError

ITERATIONS = 50
VARIANCE_FLOOR = 1e-3
"""Smallest variance of a Gaussian, as a share of the features' variance in that dimension or of its mean over the dimensions, whichever is more."""


@dataclass(frozen=True)
class GaussianMixture(Learned):
    """Gaussians with diagonal covariance.

    Attributes:
        weights: (k,) float32, positive, their sum is 1.
        means: (k, d) float32.
        variances: (k, d) float32.
    """

    arrays: ClassVar[tuple[str, ...]] = ("weights", "means", "variances")

    weights: torch.Tensor
    means: torch.Tensor
    variances: torch.Tensor

    def to(self, device: torch.device) -> "GaussianMixture":
        return GaussianMixture(self.weights.to(device), self.means.to(device), self.variances.to(device))


def kmeans(features: torch.Tensor, size: int, restarts: int = 5, seed: int = 0) -> torch.Tensor:
    """Centroids (size, d) of features (N, d), not normalised; of `restarts` runs the one with the least squared error.

    Raises:
        ModelError: fewer distinct features than centroids.
    """
    points = _points(features, size)
    dimensions = points.shape[1]
    every = {"max_points_per_centroid": len(points), "min_points_per_centroid": 1}
    model: Any = faiss.Kmeans(dimensions, size, niter=ITERATIONS, nredo=restarts, seed=seed, **every)
    model.train(points)
    return torch.from_numpy(model.centroids.reshape(size, dimensions).copy()).to(features.device)


def gaussian_mixture(features: torch.Tensor, size: int, restarts: int = 5, seed: int = 0) -> GaussianMixture:
    """A mixture by expectation maximisation from k-means centroids; of `restarts` runs the one with the highest likelihood.

    Args:
        features: (N, d).

    Raises:
        ModelError: fewer distinct features than Gaussians.
    """
    from sklearn.mixture import GaussianMixture as Mixture

    points = _points(features, size).astype(np.float64)
    spread = points.var(axis=0)
    floor = np.maximum(VARIANCE_FLOOR * spread, VARIANCE_FLOOR * spread.mean())
    best, likelihood = None, -np.inf
    for restart in range(restarts):
        centroids = kmeans(features, size, 1, seed + restart).cpu().numpy().astype(np.float64)
        nearest = faiss.knn(points.astype(np.float32), centroids.astype(np.float32), 1)[1][:, 0]
        share = np.bincount(nearest, minlength=size) + 1.0
        start = {"weights_init": share / share.sum(), "means_init": centroids, "precisions_init": np.tile(1 / np.maximum(spread, floor), (size, 1))}
        found = Mixture(size, covariance_type="diag", reg_covar=float(floor.min()), random_state=seed + restart, **start).fit(points)
        if found.lower_bound_ > likelihood:
            best, likelihood = found, found.lower_bound_
    assert best is not None
    weights, means, variances = best.weights_, best.means_, np.maximum(best.covariances_, floor)
    return GaussianMixture(*(torch.from_numpy(values).float().to(features.device) for values in (weights, means, variances)))


def _points(features: torch.Tensor, size: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    points = np.ascontiguousarray(features.detach().cpu().float().numpy())
    distinct = len(np.unique(points[: 64 * size], axis=0))
    if distinct < size and len(points) > 64 * size:
        distinct = len(np.unique(points, axis=0))
    if distinct < size:
        raise ModelError(f"a codebook of {size} is wanted, but the held-out features have only {distinct} distinct values; use more images")
    return points
