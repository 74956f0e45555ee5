"""Principal components and whitening, learned from a stream; no final normalisation."""

from pathlib import Path
from typing import Any, Self

import torch

from pipeline.aggregation.moments import Moments
from pipeline.contracts.errors import ModelError
from pipeline.contracts.models import load_model, save_model

VECTORS_AT_ONCE = 8192


class PCA:
    """Centre and rotate to the leading principal components (Jégou and Chum, 2012).

    With fewer samples than dimensions the covariance is singular: then at most rank − 1 components are kept, unless `shrinkage`
    mixes the mean eigenvalue into the spectrum.

    Args:
        dim: components to keep; None for as many as the samples bear.
        shrinkage: share s of the mean eigenvalue m: λ becomes (1 − s)·λ + s·m.

    Attributes:
        mean_: (D,) float32.
        components_: (dim, D) float32, rows orthonormal (times 1/√λ where whitening); the entry of largest modulus is positive.
        eigenvalues_: (D,) float64, descending.
        count_: vectors learned from.
    """

    whiten = False

    def __init__(self, dim: int | None = None, shrinkage: float = 0.0) -> None:
        self.dim, self.shrinkage = dim, shrinkage

    def fit(self, vectors: torch.Tensor) -> Self:
        """Learn from vectors (N, D)."""
        return self.fit_moments(Moments.of(vectors.split(VECTORS_AT_ONCE)))

    def fit_moments(self, moments: Moments) -> Self:
        """Learn from streamed moments.

        Raises:
            ModelError: no variance to learn from, or fewer usable components than `dim`.
        """
        eigenvalues, vectors = descending(moments.covariance)
        usable = self._usable(eigenvalues, moments.count)
        kept = usable if self.dim is None else self.dim
        if kept > usable or kept < 1:
            raise ModelError(
                f"{kept} components are wanted, but {moments.count} held-out vectors of {len(eigenvalues)} dimensions bear only {usable}; "
                "use more held-out images or fewer dimensions, or shrink the spectrum where the method can"
            )
        spectrum = (1 - self.shrinkage) * eigenvalues + self.shrinkage * eigenvalues.mean()
        components = upright(vectors[:, :kept].T)
        if self.whiten:
            components = components / spectrum[:kept, None].sqrt()
        self.mean_, self.components_ = moments.mean.float(), components.float().contiguous()
        self.eigenvalues_, self.count_ = eigenvalues, moments.count
        return self

    def _usable(self, eigenvalues: torch.Tensor, count: int) -> int:
        dimensions = len(eigenvalues)
        rank = rank_of(eigenvalues, count)
        if rank == dimensions or (self.shrinkage > 0 and rank > 0):
            return dimensions
        return max(rank - 1, 0)

    def transform(self, vectors: torch.Tensor) -> torch.Tensor:
        """(…, D) to (…, dim)."""
        mean, components = self.mean_.to(vectors), self.components_.to(vectors)
        return torch.matmul(vectors - mean, components.T)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The learned arrays by name."""
        return {"mean": self.mean_, "components": self.components_, "eigenvalues": self.eigenvalues_}

    def card(self) -> dict[str, Any]:
        """What a model's card says of them."""
        facts = {"kind": type(self).__name__, "dim": len(self.components_), "of": self.components_.shape[1]}
        return facts | {"vectors": self.count_, "shrinkage": self.shrinkage}

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor], card: dict[str, Any]) -> Self:
        """The inverse of `tensors` and `card`."""
        model = cls(card["dim"], card["shrinkage"])
        model.mean_, model.components_, model.eigenvalues_ = tensors["mean"], tensors["components"], tensors["eigenvalues"]
        model.count_ = card["vectors"]
        return model

    def save(self, path: Path) -> None:
        """Write to a folder."""
        save_model(path, self.tensors(), self.card())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read from a folder.

        Raises:
            ModelError: missing, damaged, or another kind of model.
        """
        tensors, card = load_model(path, cls.__name__)
        return cls.from_tensors(tensors, card)


class PCAWhitening(PCA):
    """PCA whose components are divided by the square root of their (shrunk) eigenvalue."""

    whiten = True


class Rotation(PCA):
    """Centre and rotate to the principal axes, all of them, without whitening.

    Fewer samples than dimensions leave axes open: the basis is completed by the last columns of the complete QR
    decomposition of the learned axes, which is the same for the same axes; or the fit is refused.

    Args:
        complete: complete the basis; else refuse.

    Attributes:
        learned_: axes that come from the samples; those after them are completed.
    """

    def __init__(self, dim: int | None = None, shrinkage: float = 0.0, complete: bool = True) -> None:
        super().__init__(dim, shrinkage)
        self.complete = complete

    def fit_moments(self, moments: Moments) -> Self:
        """Learn from streamed moments.

        Raises:
            ModelError: no variance to learn from, or too few samples where the basis may not be completed.
        """
        eigenvalues, vectors = descending(moments.covariance)
        wanted = len(eigenvalues) if self.dim is None else self.dim
        rank = rank_of(eigenvalues, moments.count)
        if rank < 1 or wanted > len(eigenvalues) or (rank < wanted and not self.complete):
            raise ModelError(
                f"a rotation to {wanted} dimensions is wanted, but {moments.count} held-out vectors of {len(eigenvalues)} dimensions "
                f"bear only {rank}; use more held-out images, or let the basis be completed"
            )
        axes = vectors[:, :rank]
        if rank < wanted:
            axes = torch.cat([axes, torch.linalg.qr(axes, mode="complete")[0][:, rank:]], dim=1)
        self.mean_, self.components_ = moments.mean.float(), upright(axes[:, :wanted].T).float().contiguous()
        self.eigenvalues_, self.count_, self.learned_ = eigenvalues, moments.count, min(rank, wanted)
        return self

    def card(self) -> dict[str, Any]:
        return super().card() | {"learned_axes": self.learned_}

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor], card: dict[str, Any]) -> Self:
        model = super().from_tensors(tensors, card)
        model.learned_ = card["learned_axes"]
        return model


class FlooredWhitening:
    """Centre and whiten by λ^(−1/2) Vᵀ with the `floor` smallest eigenvalues raised to the largest among them (Jégou and Zisserman, 2014).

    Attributes:
        whitening_mean_: (D,) float32.
        whitening_: (D, D) float32.
    """

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

    def tensors(self) -> dict[str, torch.Tensor]:
        """The learned arrays by name."""
        return {"whitening_mean": self.whitening_mean_, "whitening": self.whitening_}

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor], card: dict[str, Any]) -> Self:
        """The inverse of `tensors`; `card` gives the floor."""
        model = cls(card["floor"])
        model.whitening_mean_, model.whitening_ = tensors["whitening_mean"], tensors["whitening"]
        return model


def descending(covariance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues (D,), descending and not below 0, and eigenvectors (D, D) as columns, float64."""
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    return eigenvalues.flip(0).clamp(min=0), vectors.flip(1)


def rank_of(eigenvalues: torch.Tensor, count: int) -> int:
    """Directions in which `count` samples vary, from their covariance's eigenvalues, descending."""
    limit = eigenvalues[0] * len(eigenvalues) * torch.finfo(torch.float64).eps
    return min(int((eigenvalues > limit).sum()), max(count - 1, 0))


def upright(rows: torch.Tensor) -> torch.Tensor:
    """Rows (n, D) with the sign that makes the entry of largest modulus positive."""
    return rows * rows.gather(1, rows.abs().argmax(dim=1, keepdim=True)).sign()


WHITENINGS: dict[str, type[PCA]] = {"pca": PCA, "pca_whitening": PCAWhitening}
