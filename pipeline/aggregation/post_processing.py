"""From an aggregated vector to a descriptor: rotation, truncation, power law, l2 (paper 3, §IV-D)."""

from collections.abc import Iterable
from typing import Any, Self

import torch

from pipeline.aggregation.moments import Moments
from pipeline.aggregation.normalization import l2
from pipeline.aggregation.whitening import Rotation
from pipeline.contracts.errors import ModelError


def power_law(vectors: torch.Tensor, power: float) -> torch.Tensor:
    """sign(x) · |x|^power (Perronnin et al., 2010)."""
    return vectors if power == 1 else vectors.sign() * vectors.abs().pow(power)


class PostProcessing:
    """Centre, rotate, drop the first components, power law, l2. A zero vector, an image without features, stays zero.

    Args:
        truncate: leading components to drop after the rotation.
        power: exponent of the power law.
        dimensions: components to keep after those; None for all.
        order: `rotate_first` as the authors published it, or `power_first` as the text has it: power law, l2, rotate, drop, l2.
        complete: complete the rotation's basis where the held-out images are fewer than the dimensions; else refuse.
    """

    def __init__(
        self, truncate: int = 0, power: float = 0.5, dimensions: int | None = None, order: str = "rotate_first", complete: bool = True
    ) -> None:
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

    def tensors(self) -> dict[str, torch.Tensor]:
        """The learned arrays by name."""
        return self.rotation_.tensors()

    def card(self) -> dict[str, Any]:
        """What a model's card says of them."""
        own = {"kind": type(self).__name__, "truncate": self.truncate, "power": self.power, "dimensions": self.dimensions, "order": self.order}
        return own | {"rotation": self.rotation_.card()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor], card: dict[str, Any]) -> Self:
        """The inverse of `tensors` and `card`."""
        model = cls(card["truncate"], card["power"], card["dimensions"], card["order"])
        model.rotation_ = Rotation.from_tensors(tensors, card["rotation"])
        return model
