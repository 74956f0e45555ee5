"""The projection of region vectors that came with a network's weights: shift and fully connected layer (Gordo et al., 2016)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from pipeline.contracts.models import Learned
from pipeline.stage.errors import ModelError

PROJECTION = "projection.safetensors"
SHIFT, WEIGHT = "projection.shift", "projection.weight"
"""Keys that a file of weights has them under."""


@dataclass(frozen=True)
class RegionProjection(Learned):
    """Attributes:
    shift_: (K,), added to a region's l2-normalised vector first.
    components_: (D, K).
    """

    shift_: torch.Tensor
    components_: torch.Tensor
    arrays: ClassVar[tuple[str, ...]] = ("shift_", "components_")

    @classmethod
    def published(cls, tensors: Mapping[str, torch.Tensor], channels: int) -> Self | None:
        """Of a file of weights; None where it has none.

        Args:
            channels: of the maps.

        Raises:
            ModelError: it does not fit them.
        """
        if SHIFT not in tensors or WEIGHT not in tensors:
            return None
        shift, weight = tensors[SHIFT].float().flatten(), tensors[WEIGHT].float()
        if weight.dim() != 2 or len(shift) != channels or weight.shape[1] != channels:
            raise ModelError(f"{SHIFT} {tuple(shift.shape)} and {WEIGHT} {tuple(weight.shape)} do not fit maps of {channels} channels")
        return cls(shift, weight.contiguous())

    def transform(self, vectors: torch.Tensor) -> torch.Tensor:
        """(…, K) to (…, D)."""
        return torch.matmul(vectors + self.shift_.to(vectors), self.components_.to(vectors).T)
