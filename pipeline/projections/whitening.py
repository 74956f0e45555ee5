"""Principal components and whitening, learned from a stream or from pairs; no final normalisation."""

import copy
from collections.abc import Sequence
from typing import ClassVar, Self

import torch

from pipeline.contracts.models import Learned
from pipeline.projections.labels import known_labels
from pipeline.projections.moments import Moments
from pipeline.stage.errors import ModelError

VECTORS_AT_ONCE = 8192
ROUNDING = 8 * torch.finfo(torch.float32).eps
"""Relative differences of float32 vectors that are nothing but rounding."""


class PCA(Learned):
    """Centre and rotate to the leading principal components (Jégou and Chum, 2012).

    With fewer samples than dimensions the covariance is singular: then at most rank − 1 components are kept, unless `shrinkage`
    mixes the mean eigenvalue into the spectrum.

    Args:
        dim: components to keep; None for as many as the samples allow.
        shrinkage: share s of the mean eigenvalue m: λ becomes (1 − s)·λ + s·m.

    Attributes:
        mean_: (D,) float32.
        components_: (dim, D) float32, rows orthonormal (times 1/√λ where whitening); the entry of largest modulus is positive.
        eigenvalues_: (D,) float64, descending.
        count_: vectors learned from.
    """

    whiten = False
    arrays = ("mean_", "components_", "eigenvalues_")
    facts: ClassVar[tuple[str, ...]] = ("dim", "shrinkage", "count_")

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
                f"{kept} components are wanted, but {moments.count} held-out vectors of {len(eigenvalues)} dimensions give only {usable}; "
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

    def first(self, dim: int) -> Self:
        """The same with its first components alone.

        Raises:
            ModelError: there are fewer.
        """
        if dim > len(self.components_):
            raise ModelError(f"{dim} components are wanted, but {self.count_} held-out vectors give only {len(self.components_)}")
        leading = copy.copy(self)
        leading.dim, leading.components_ = dim, self.components_[:dim]
        return leading

    def transform(self, vectors: torch.Tensor) -> torch.Tensor:
        """(…, D) to (…, dim)."""
        mean, components = self.mean_.to(vectors), self.components_.to(vectors)
        return torch.matmul(vectors - mean, components.T)


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

    facts = (*PCA.facts, "complete", "learned_")

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
                f"give only {rank}; use more held-out images, or let the basis be completed"
            )
        axes = vectors[:, :rank]
        if rank < wanted:
            axes = torch.cat([axes, torch.linalg.qr(axes, mode="complete")[0][:, rank:]], dim=1)
        self.mean_, self.components_ = moments.mean.float(), upright(axes[:, :wanted].T).float().contiguous()
        self.eigenvalues_, self.count_, self.learned_ = eigenvalues, moments.count, min(rank, wanted)
        return self


class LearnedWhitening(PCA):
    """Centre, whiten by what differs within instances, rotate to the axes along which instances differ most.

    P = eig(S^(−1/2) D S^(−1/2))ᵀ S^(−1/2), with S the mean of (f_i − f_j)(f_i − f_j)ᵀ over all pairs of one instance and D the
    same over all pairs of different instances. Where S is singular it is inverted on its range, less one direction, unless
    `shrinkage` mixes its mean eigenvalue into it.

    Attributes:
        eigenvalues_: (dim of the range,) of D after whitening, descending.
        pairs_: matching pairs learned from.
    """

    facts = (*PCA.facts, "pairs_")

    def fit(self, vectors: torch.Tensor, instances: Sequence[str | None] = ()) -> Self:
        """Learn from vectors (N, D) and what each shows; an image of unknown instance is left out.

        Raises:
            ModelError: no two images of one instance, only one instance, or fewer usable components than `dim`.
        """
        known, labels, shown = known_labels(instances)
        rows = vectors[known].double().cpu()
        counts = labels.bincount(minlength=shown).double()
        matching, all_pairs = float((counts * (counts - 1) / 2).sum()), len(rows) * (len(rows) - 1) / 2
        if not matching or matching == all_pairs:
            raise ModelError(
                f"a learned whitening needs several held-out images of several instances; there are {len(known)} images of {shown}; "
                "name a held-out set whose catalogue says what its images show"
            )
        mean = rows.mean(dim=0)
        within, between = _pair_scatters(rows - mean, labels, counts)
        noise = (ROUNDING * rows.norm(dim=1).max()) ** 2
        inverse = self._inverse_root(within / matching, noise, int((counts - 1).sum()))
        eigenvalues, axes = descending(inverse.T @ (between / (all_pairs - matching)) @ inverse)
        kept = len(eigenvalues) if self.dim is None else self.dim
        if kept > len(eigenvalues):
            raise ModelError(
                f"{kept} components are wanted, but {len(known)} held-out images of {shown} instances in {rows.shape[1]} dimensions give only "
                f"{len(eigenvalues)}; use more images of the same instances or fewer dimensions, or shrink the spectrum"
            )
        self.mean_, self.components_ = mean.float(), upright((inverse @ axes[:, :kept]).T).float().contiguous()
        self.eigenvalues_, self.count_, self.pairs_ = eigenvalues, len(rows), int(matching)
        return self

    def _inverse_root(self, within: torch.Tensor, noise: torch.Tensor, freedom: int) -> torch.Tensor:
        """(D, r): the range's eigenvectors over the root of their eigenvalues; what is below `noise` is what rounding leaves of equal vectors."""
        values, vectors = descending(within)
        values = torch.where(values > noise, values, torch.zeros_like(values))
        usable = self._usable(values, freedom + 1)
        if usable < 1:
            raise ModelError("the held-out images of one instance are all alike, so there is nothing to learn a whitening from")
        spectrum = (1 - self.shrinkage) * values + self.shrinkage * values.mean()
        return vectors[:, :usable] / spectrum[:usable].sqrt()


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


def _pair_scatters(rows: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of (f_i − f_j)(f_i − f_j)ᵀ over the pairs of one instance, and over those of two, without a loop over pairs."""
    sums = rows.new_zeros(len(counts), rows.shape[1]).index_add_(0, labels, rows)
    own = rows - (sums / counts[:, None])[labels]
    within = (own * counts[labels, None]).T @ own
    total = rows.sum(dim=0)
    return within, len(rows) * rows.T @ rows - torch.outer(total, total) - within


WHITENINGS: dict[str, type[PCA]] = {"pca": PCA, "pca_whitening": PCAWhitening}
