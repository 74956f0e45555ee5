"""Mean and covariance of any number of vectors in one pass and constant memory, in float64."""

from collections.abc import Iterable
from typing import Self

import torch

from pipeline.stage.errors import SanityError


class Moments:
    """Streamed count, mean and covariance; batches are merged by the rule of Chan et al. (1979).

    Attributes:
        count: vectors seen.
        mean: (D,) float64.
    """

    def __init__(self, dimensions: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self.mean = torch.zeros(dimensions, dtype=torch.float64, device=device)
        self._scatter = torch.zeros(dimensions, dimensions, dtype=torch.float64, device=device)

    def update(self, vectors: torch.Tensor) -> None:
        """Add vectors (N, D).

        Raises:
            SanityError: a value is not finite.
        """
        if not len(vectors):
            return
        batch = vectors.to(self.mean)
        mean = batch.mean(dim=0)
        if not torch.isfinite(mean).all():
            raise SanityError("a vector to learn from is not finite; look at the network's weights and extract.precision")
        centred = batch - mean
        total = self.count + len(batch)
        difference = mean - self.mean
        self._scatter += centred.T @ centred + torch.outer(difference, difference) * (self.count * len(batch) / total)
        self.mean += difference * (len(batch) / total)
        self.count = total

    @classmethod
    def of(cls, batches: Iterable[torch.Tensor]) -> Self:
        """The moments of a stream of vectors (N, D); of none where it is empty."""
        moments: Self | None = None
        for vectors in batches:
            moments = moments or cls(vectors.shape[-1], vectors.device)
            moments.update(vectors)
        return moments or cls(1)

    @property
    def covariance(self) -> torch.Tensor:
        """(D, D) float64, divided by the count."""
        return self._scatter / max(self.count, 1)
