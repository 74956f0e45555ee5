"""What every hash function is: learned on held-out vectors, then from vectors to packed binary codes."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch

from pipeline.contracts.models import Learned
from pipeline.projections.whitening import Rotation
from pipeline.stage.errors import ModelError, ParameterError, SanityError


class Hasher(Learned, ABC):
    """Learned like a scikit-learn transformer.

    Args:
        bits: length of a code, a multiple of 8.
        seed: of the random start.

    Attributes:
        objectives_: the objective after every iteration; it never rises.
        count_: vectors learned from.
        axes_: principal axes used.
        learned_axes_: those among them that the vectors have; the basis is completed by the others (see Rotation).
    """

    facts: ClassVar[tuple[str, ...]] = ("bits", "seed", "count_", "axes_", "learned_axes_", "objectives_")

    def __init__(self, bits: int, seed: int = 0) -> None:
        if bits < 8 or bits % 8:
            raise ParameterError(f"bits: {bits} is no positive multiple of 8")
        self.bits, self.seed = bits, seed
        self.objectives_: list[float] = []
        self.count_ = self.axes_ = self.learned_axes_ = 0

    def fit(self, vectors: torch.Tensor) -> Self:
        """Learn from vectors (N, D).

        Raises:
            ModelError: fewer dimensions than bits, or no two different vectors.
            SanityError: a value is not finite.
        """
        if not torch.isfinite(vectors).all():
            raise SanityError("a descriptor to learn from is not finite; look at the weights and extract.precision")
        if self.bits > vectors.shape[1]:
            raise ModelError(f"{self.bits} bits are wanted of {vectors.shape[1]} dimensions; set bits to at most {vectors.shape[1] // 8 * 8}")
        if len(vectors) < 2:
            raise ModelError(f"{len(vectors)} held-out descriptors are too few to learn a hash function from; use more held-out images")
        self.count_, self.objectives_ = len(vectors), []
        self._learn(vectors)
        return self

    @abstractmethod
    def _learn(self, vectors: torch.Tensor) -> None:
        """Set what `arrays` lists, as float32."""

    @abstractmethod
    def bits_of(self, vectors: torch.Tensor) -> torch.Tensor:
        """(n, D) to (n, bits) bool."""

    def encode(self, vectors: torch.Tensor) -> torch.Tensor:
        """(n, D) to (n, bits / 8) uint8: bit j stands in byte j // 8 at the place j % 8, the lowest first."""
        return pack(self.bits_of(vectors))

    def _principal(self, vectors: torch.Tensor, dim: int) -> Rotation:
        """The leading axes of the vectors."""
        rotation = Rotation(dim).fit(vectors)
        self.axes_, self.learned_axes_ = len(rotation.components_), rotation.learned_
        return rotation


def pack(bits: torch.Tensor) -> torch.Tensor:
    """(n, 8 · m) bool to (n, m) uint8, the lowest bit first."""
    places = 2 ** torch.arange(8, device=bits.device)
    return (bits.reshape(len(bits), -1, 8) * places).sum(dim=2).to(torch.uint8)


def unpack(codes: torch.Tensor) -> torch.Tensor:
    """The inverse of `pack`."""
    return ((codes[..., None].int() >> torch.arange(8, device=codes.device)) & 1).bool().flatten(1)


def signs(values: torch.Tensor) -> torch.Tensor:
    """+1 where a value is at least 0, else −1."""
    return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)
