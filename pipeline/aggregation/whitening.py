"""Principal components and whitening, learned from a stream; no final normalisation."""

from pathlib import Path
from typing import Any, Self

import torch

from pipeline.aggregation.moments import Moments
from pipeline.contracts.errors import ModelError
from pipeline.contracts.models import load_model, save_model


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
        moments = Moments(vectors.shape[1], vectors.device)
        moments.update(vectors)
        return self.fit_moments(moments)

    def fit_moments(self, moments: Moments) -> Self:
        """Learn from streamed moments.

        Raises:
            ModelError: no variance to learn from, or fewer usable components than `dim`.
        """
        eigenvalues, vectors = torch.linalg.eigh(moments.covariance)
        eigenvalues, vectors = eigenvalues.flip(0).clamp(min=0), vectors.flip(1)
        usable = self._usable(eigenvalues, moments.count)
        kept = usable if self.dim is None else self.dim
        if kept > usable or kept < 1:
            raise ModelError(
                f"{kept} components are wanted, but {moments.count} held-out vectors of {len(eigenvalues)} dimensions bear only {usable}; "
                "use more held-out images, fewer dimensions, or a shrinkage above 0"
            )
        spectrum = (1 - self.shrinkage) * eigenvalues + self.shrinkage * eigenvalues.mean()
        components = vectors[:, :kept].T
        signs = components.gather(1, components.abs().argmax(dim=1, keepdim=True)).sign()
        components = components * signs
        if self.whiten:
            components = components / spectrum[:kept, None].sqrt()
        self.mean_, self.components_ = moments.mean.float(), components.float().contiguous()
        self.eigenvalues_, self.count_ = eigenvalues, moments.count
        return self

    def _usable(self, eigenvalues: torch.Tensor, count: int) -> int:
        dimensions = len(eigenvalues)
        rank = min(int((eigenvalues > eigenvalues[0] * dimensions * torch.finfo(torch.float64).eps).sum()), max(count - 1, 0))
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
        tensors, card = load_model(path)
        if card["kind"] != cls.__name__:
            raise ModelError(f"{path}: holds a {card['kind']}, expected {cls.__name__}")
        return cls.from_tensors(tensors, card)


class PCAWhitening(PCA):
    """PCA whose components are divided by the square root of their (shrunk) eigenvalue."""

    whiten = True


WHITENINGS: dict[str, type[PCA]] = {"pca": PCA, "pca_whitening": PCAWhitening}
