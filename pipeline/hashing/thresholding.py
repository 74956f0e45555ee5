"""One bit per dimension of the descriptor: whether it exceeds what is usual on the held-out set (paper 1, table 2, quantised max pooling)."""

from typing import Literal, assert_never

import torch

from pipeline.hashing.hasher import Hasher
from pipeline.stage.errors import ModelError

Level = Literal["median", "mean"]


class Thresholding(Hasher):
    """Compare every dimension with its median, which balances the bits, or its mean on held-out vectors; the equal is 0.

    Args:
        bits: the descriptor's dimensions.
    """

    arrays = ("thresholds_",)
    facts = (*Hasher.facts, "level")

    def __init__(self, bits: int, seed: int = 0, level: Level = "median") -> None:
        super().__init__(bits, seed)
        self.level = level

    def _learn(self, vectors: torch.Tensor) -> None:
        if vectors.shape[1] != self.bits:
            raise ModelError(f"thresholding gives one bit per dimension; set hash.thresholding.bits to {vectors.shape[1]}, not {self.bits}")
        match self.level:
            case "median":
                self.thresholds_ = _median(vectors)
            case "mean":
                self.thresholds_ = vectors.mean(dim=0)
            case _:
                assert_never(self.level)

    def bits_of(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors > self.thresholds_.to(vectors)


def _median(vectors: torch.Tensor) -> torch.Tensor:
    """Of each dimension, between the two middle values where their number is even; torch.quantile takes 2²⁴ values at most."""
    ordered = vectors.sort(dim=0).values
    return (ordered[(len(vectors) - 1) // 2] + ordered[len(vectors) // 2]) / 2
