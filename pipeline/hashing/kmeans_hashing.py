"""K-means hashing (He, Wen and Sun, 2013): product quantisation whose centres keep the distances of their binary indices."""

import torch
from torch.nn.functional import one_hot

from pipeline.hashing.hasher import Hasher
from pipeline.stage.errors import ParameterError

MINIMISER_STEPS = 5


class KMeansHashing(Hasher):
    """In each of bits / b subspaces of the rotated vectors 2^b centres; a vector's code is the indices of its nearest centres.

    The objective of a subspace is the mean squared error plus `affinity` · Σ_ij w_ij (‖c_i − c_j‖ − 2s √h(i, j))², with
    w_ij = n_i n_j / n² the shares of the centres and h the Hamming distance of the indices. A subspace whose objective an
    iteration would raise (assignments change the weights) keeps what it has and is done.

    Args:
        subspace_bits: b.
        affinity: λ.
        iterations: at most.
    """

    arrays = ("mean_", "rotation_", "centres_")
    facts = (*Hasher.facts, "subspace_bits", "affinity", "iterations")

    def __init__(self, bits: int, seed: int = 0, subspace_bits: int = 4, affinity: float = 10.0, iterations: int = 50) -> None:
        super().__init__(bits, seed)
        if bits % subspace_bits:
            raise ParameterError(f"bits: {bits} is no multiple of subspace_bits {subspace_bits}")
        self.subspace_bits, self.affinity, self.iterations = subspace_bits, affinity, iterations

    def _learn(self, vectors: torch.Tensor) -> None:
        subspaces = self.bits // self.subspace_bits
        axes = self._principal(vectors, vectors.shape[1] // subspaces * subspaces)
        order = balanced_allocation(axes.eigenvalues_[: len(axes.components_)], subspaces)
        self.mean_ = axes.mean_
        self.rotation_ = axes.components_[order.flatten()].T.contiguous()
        parts = self._parts(vectors).double()
        centres, wanted = self._start(parts)
        best = torch.full((subspaces,), float("inf"), dtype=parts.dtype, device=parts.device)
        active = torch.ones(subspaces, dtype=torch.bool, device=parts.device)
        for _ in range(self.iterations):
            nearest = _nearest(parts, centres)
            moved = self._minimise(parts, nearest, centres, wanted)
            objective = self._objective(parts, nearest, moved, wanted)
            active &= objective < best
            if not active.any():
                break
            centres = torch.where(active[:, None, None], moved, centres)
            best = torch.where(active, objective, best)
            self.objectives_.append(float(best.sum()))
        self.centres_ = centres.float()

    def _parts(self, vectors: torch.Tensor) -> torch.Tensor:
        """(N, D) to (subspaces, N, s)."""
        rotated = torch.matmul(vectors - self.mean_.to(vectors), self.rotation_.to(vectors))
        return rotated.reshape(len(vectors), self.bits // self.subspace_bits, -1).movedim(1, 0)

    def _start(self, parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """PCA hashing's centres (subspaces, 2^b, s), and the distances (subspaces, 2^b, 2^b) that they should keep."""
        subspaces, _, width = parts.shape
        indices = torch.arange(2**self.subspace_bits, device=parts.device)
        digits = (indices[:, None] >> torch.arange(self.subspace_bits, device=parts.device)) & 1
        scale = parts[..., : self.subspace_bits].abs().mean(dim=(1, 2))
        centres = parts.new_zeros(subspaces, len(indices), width)
        centres[..., : self.subspace_bits] = (2.0 * digits - 1) * scale[:, None, None]
        hamming = (digits[:, None] != digits).sum(dim=2).to(parts.dtype)
        return centres, 2 * scale[:, None, None] * hamming.sqrt()

    def _shares(self, nearest: torch.Tensor) -> torch.Tensor:
        """(subspaces, N) indices to (subspaces, 2^b) shares of the vectors."""
        return torch.stack([torch.bincount(row, minlength=2**self.subspace_bits) for row in nearest]).double() / nearest.shape[1]

    def _minimise(self, parts: torch.Tensor, nearest: torch.Tensor, centres: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Centre after centre, steps that minimise a bound from above which touches the objective at the present centre."""
        shares = self._shares(nearest)
        members = (one_hot(row, 2**self.subspace_bits).to(part).T @ part for row, part in zip(nearest, parts, strict=True))
        sums = torch.stack(list(members)) / parts.shape[1]  # a product, whose order of summation is fixed, on CUDA as well
        centres = centres.clone()
        for index in range(centres.shape[1]):
            weights = 2 * self.affinity * shares[:, index, None] * shares
            weights[:, index] = 0
            total = shares[:, index] + weights.sum(dim=1)
            for _ in range(MINIMISER_STEPS):
                away = centres[:, index, None] - centres
                distance = away.norm(dim=2, keepdim=True)
                aims = centres + wanted[:, index, :, None] * away / distance.clamp(min=1e-12)
                moved = (sums[:, index] + (weights[..., None] * aims).sum(dim=1)) / total.clamp(min=1e-12)[:, None]
                centres[:, index] = torch.where(total[:, None] > 0, moved, centres[:, index])
        return centres

    def _objective(self, parts: torch.Tensor, nearest: torch.Tensor, centres: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """(subspaces,)"""
        chosen = centres.gather(1, nearest[..., None].expand_as(parts))
        errors = (parts - chosen).square().sum(dim=2).mean(dim=1)
        shares = self._shares(nearest)
        distances = (centres[:, :, None] - centres[:, None]).norm(dim=3)
        affinity = (shares[:, :, None] * shares[:, None] * (distances - wanted).square()).sum(dim=(1, 2))
        total: torch.Tensor = errors + self.affinity * affinity
        return total

    def bits_of(self, vectors: torch.Tensor) -> torch.Tensor:
        nearest = _nearest(self._parts(vectors), self.centres_.to(vectors)).T
        digits = (nearest[..., None] >> torch.arange(self.subspace_bits, device=vectors.device)) & 1
        return digits.bool().flatten(1)


def balanced_allocation(eigenvalues: torch.Tensor, subspaces: int) -> torch.Tensor:
    """Which axes each subspace gets, (subspaces, s), descending: each eigenvalue goes to the subspace with the least product that has room
    (Ge et al., 2013, §3.2.3)."""
    room = len(eigenvalues) // subspaces
    logarithms = eigenvalues.clamp(min=float(eigenvalues[0]) * 1e-12).log().tolist()
    base = min(logarithms)
    members: list[list[int]] = [[] for _ in range(subspaces)]
    products = [0.0] * subspaces
    for axis, value in enumerate(logarithms):
        place = min((index for index in range(subspaces) if len(members[index]) < room), key=lambda index: (products[index], index))
        members[place].append(axis)
        products[place] += value - base
    return torch.tensor(members)


def _nearest(parts: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """(subspaces, N, s) and (subspaces, 2^b, s) to the index of the nearest centre, (subspaces, N)."""
    return torch.stack([(own.square().sum(dim=1) - 2 * part @ own.T).argmin(dim=1) for part, own in zip(parts, centres, strict=True)])
