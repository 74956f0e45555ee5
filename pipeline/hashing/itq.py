"""Iterative quantisation (Gong et al., 2013): the rotation of the principal components whose signs lose least."""

import torch

from pipeline.hashing.hasher import Hasher, signs


class ITQ(Hasher):
    """Centre, project to `bits` principal components without whitening, rotate, take signs; sign(0) is +1.

    From a random orthogonal start each iteration takes B = sign(V R), then R = W Uᵀ with Bᵀ V = U Σ Wᵀ, which minimises ‖B − V R‖².

    Args:
        iterations: at most; it ends earlier when the codes stay the same.
    """

    arrays = ("mean_", "projection_")
    facts = (*Hasher.facts, "iterations")

    def __init__(self, bits: int, seed: int = 0, iterations: int = 50) -> None:
        super().__init__(bits, seed)
        self.iterations = iterations

    def _learn(self, vectors: torch.Tensor) -> None:
        axes = self._principal(vectors, self.bits)
        projected = axes.transform(vectors).double()
        rotation = optimal_rotation(projected, self.iterations, self.seed, self.objectives_)
        self.mean_ = axes.mean_
        self.projection_ = (axes.components_.T.double() @ rotation).float().contiguous()

    def project(self, vectors: torch.Tensor) -> torch.Tensor:
        """(n, D) to the real values (n, bits) whose signs are the code."""
        mean, projection = self.mean_.to(vectors), self.projection_.to(vectors)
        return torch.matmul(vectors - mean, projection)

    def bits_of(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.project(vectors) >= 0


def optimal_rotation(projected: torch.Tensor, iterations: int, seed: int, objectives: list[float]) -> torch.Tensor:
    """The rotation R (L, L) of centred vectors V (N, L) float64; appends ‖sign(V R) − V R‖² after every iteration to `objectives`."""
    length = projected.shape[1]
    start = torch.randn(length, length, generator=torch.Generator().manual_seed(seed), dtype=projected.dtype)
    rotation: torch.Tensor = torch.linalg.qr(start)[0].to(projected.device)
    codes = signs(projected @ rotation)
    for _ in range(iterations):
        left, _, right = torch.linalg.svd(codes.T @ projected)
        rotation = (left @ right).T
        rotated: torch.Tensor = projected @ rotation
        renewed = signs(rotated)
        objectives.append(float((renewed - rotated).square().sum()))
        if torch.equal(renewed, codes):
            break
        codes = renewed
    return rotation
