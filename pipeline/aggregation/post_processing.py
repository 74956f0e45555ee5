"""From an aggregated vector to a descriptor: rotation, truncation, power law, l2 (paper 3, §IV-D)."""

from collections.abc import Iterable
from typing import ClassVar, Self

import torch

from pipeline.contracts.models import Learned
from pipeline.projections.moments import Moments
from pipeline.projections.normalization import l2
from pipeline.projections.whitening import Rotation
from pipeline.stage.errors import ModelError

ORDERS = ("rotate_first", "power_first")


def power_law(vectors: torch.Tensor, power: float) -> torch.Tensor:
    """sign(x) · |x|^power (Perronnin et al., 2010)."""
    return vectors if power == 1 else vectors.sign() * vectors.abs().pow(power)


class PostProcessing(Learned):
    """Centre, rotate, drop the first components, power law, l2. A zero vector, an image without features, stays zero.

    Args:
        truncate: leading components to drop after the rotation.
        power: exponent of the power law.
        dimensions: components to keep after those; None for all.
        order: `rotate_first` as the authors published it, or `power_first` as the text has it: power law, l2, rotate, drop, l2.
        complete: complete the rotation's basis where the held-out images are fewer than the dimensions; else refuse.
    """

    facts = ("truncate", "power", "dimensions", "order", "complete")
    parts: ClassVar[dict[str, type[Learned]]] = {"rotation_": Rotation}

    def __init__(
        self, truncate: int = 0, power: float = 0.5, dimensions: int | None = None, order: str = "rotate_first", complete: bool = True
    ) -> None:
        if order not in ORDERS:
            raise ValueError(f"order {order!r} is unknown; there are: {', '.join(ORDERS)}")
        self.truncate, self.power, self.dimensions, self.order, self.complete = truncate, power, dimensions, order, complete

    def fit(self, batches: Iterable[torch.Tensor]) -> Self:
        """Learn from a stream of aggregated, l2-normalised vectors (N, D) of the held-out images; zero vectors do not count.

        Raises:
            ModelError: more components are dropped or kept than there are; or too few images where the basis may not be completed.
        """
        moments = Moments.of(self._before(vectors[(vectors != 0).any(dim=1)]) for vectors in batches)
        length = len(moments.mean)
        last = length if self.dimensions is None else self.truncate + self.dimensions
        if not self.truncate < last <= length:
            kept = "all others" if self.dimensions is None else f"{self.dimensions} components"
            raise ModelError(f"{kept} are to be kept after dropping {self.truncate}, but the aggregated vectors have {length} dimensions")
        self.rotation_ = Rotation(last, complete=self.complete).fit_moments(moments)
        return self

    def transform(self, vectors: torch.Tensor) -> torch.Tensor:
        """Aggregated vectors (N, D), l2-normalised, to descriptors (N, D'), l2-normalised."""
        rotated = self.rotation_.transform(self._before(vectors))[..., self.truncate :]
        powered = power_law(rotated, self.power) if self.order == "rotate_first" else rotated
        return l2(torch.where((vectors != 0).any(dim=-1, keepdim=True), powered, 0.0))

    def _before(self, vectors: torch.Tensor) -> torch.Tensor:
        return l2(power_law(vectors, self.power)) if self.order == "power_first" else vectors
