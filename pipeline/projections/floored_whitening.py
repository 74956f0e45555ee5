"""Whitening of embedded local features whose smallest eigenvalues are raised."""

from typing import Self

import torch

from pipeline.contracts.models import Learned
from pipeline.projections.moments import Moments
from pipeline.projections.whitening import descending, rank_of, upright
from pipeline.stage.errors import ModelError


class FlooredWhitening(Learned):
    """Centre and whiten by λ^(−1/2) Vᵀ with the `floor` smallest eigenvalues raised to the largest among them (Jégou and Zisserman, 2014).

    Attributes:
        whitening_mean_: (D,) float32.
        whitening_: (D, D) float32.
    """

    arrays = ("whitening_mean_", "whitening_")
    facts = ("floor",)

    def __init__(self, floor: int) -> None:
        self.floor = floor

    def fit_moments(self, moments: Moments) -> Self:
        """Learn from streamed moments.

        Raises:
            ModelError: the raised eigenvalues are still zero: too few samples, or dimensions that depend on each other.
        """
        eigenvalues, vectors = descending(moments.covariance)
        raised = min(max(self.floor, 1), len(eigenvalues))
        lowest = eigenvalues[-raised]
        if rank_of(eigenvalues, moments.count) <= len(eigenvalues) - raised:
            raise ModelError(
                f"{moments.count} held-out features of {len(eigenvalues)} embedded dimensions leave more than the {raised} smallest eigenvalues "
                "at zero; use more held-out images, a smaller codebook, fewer local_dimensions, or raise more eigenvalues (floor)"
            )
        self.whitening_mean_ = moments.mean.float()
        self.whitening_ = (upright(vectors.T) / eigenvalues.clamp(min=lowest).sqrt()[:, None]).float().contiguous()
        return self

    def transform(self, vectors: torch.Tensor) -> torch.Tensor:
        """(…, D) to (…, D)."""
        return self.transform_sum(vectors, 1.0)

    def transform_sum(self, sums: torch.Tensor, count: torch.Tensor | float) -> torch.Tensor:
        """The sum of `count` transformed vectors from the sum (…, D) of the vectors."""
        return torch.matmul(sums - self.whitening_mean_ * count, self.whitening_.T)
