"""Relaxed binary autoencoder (Do et al., 2017): codes from which the vectors are rebuilt linearly, close to a linear encoding."""

import torch

from pipeline.hashing.hasher import Hasher, signs
from pipeline.hashing.itq import optimal_rotation

START_ITERATIONS = 50
"""Of the iterative quantisation that gives the first codes."""
SWEEPS = 10
TOLERANCE = 1e-6


class RelaxedBinaryAutoencoder(Hasher):
    """Minimises ½‖X − W2 B − c2‖² + λ/2 ‖B − W1 X − c1‖² + β/2 (‖W1‖² + ‖W2‖²) over B ∈ {±1}, W1, W2, c1, c2.

    From the codes of iterative quantisation on, blocks in turn, each an exact minimiser: ridge regressions for encoder and
    decoder, B bit by bit. X is scaled to unit mean square, so that λ and β mean the same for descriptors of any length. The
    code of x is sign(W1 x + c1).

    Args:
        encoding: λ.
        decay: β.
        iterations: at most; it ends earlier when the objective falls by less than a millionth.
    """

    arrays = ("weights_", "offset_")
    facts = (*Hasher.facts, "encoding", "decay", "iterations")

    def __init__(self, bits: int, seed: int = 0, encoding: float = 1.0, decay: float = 1.0, iterations: int = 50) -> None:
        super().__init__(bits, seed)
        self.encoding, self.decay, self.iterations = encoding, decay, iterations

    def _learn(self, vectors: torch.Tensor) -> None:
        axes = self._principal(vectors, self.bits)
        projected = axes.transform(vectors).double()
        start = signs(projected @ optimal_rotation(projected, START_ITERATIONS, self.seed, []))
        mean = axes.mean_.double()
        centred = vectors.double() - mean
        scale = centred.square().mean().sqrt().clamp(min=1e-30)
        weights, offset = self._alternate(centred / scale, start)
        self.weights_ = (weights / scale).float().contiguous()
        self.offset_ = (offset - self.weights_.double() @ mean).float()

    def _alternate(self, x: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Centred vectors (N, D) and first codes (N, L), ±1, to W1 (L, D) and c1 (L,)."""
        identity = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        factor = torch.linalg.cholesky(x.T @ x + self.decay / self.encoding * identity)
        weights, offset = self._encoder(x, codes, factor)
        for _ in range(self.iterations):
            decoder, shift = self._decoder(x, codes)
            codes = self._codes(x - shift, decoder, x @ weights.T + offset, codes)
            weights, offset = self._encoder(x, codes, factor)
            self.objectives_.append(self._objective(x, codes, weights, offset, decoder, shift))
            if len(self.objectives_) > 1 and self.objectives_[-2] - self.objectives_[-1] <= TOLERANCE * self.objectives_[-1]:
                break
        return weights, offset

    def _encoder(self, x: torch.Tensor, codes: torch.Tensor, factor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """W1 and c1 for given codes; X is centred, so c1 is the codes' mean."""
        offset = codes.mean(dim=0)
        return torch.cholesky_solve(x.T @ (codes - offset), factor).T, offset

    def _decoder(self, x: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """W2 (D, L) and c2 (D,) for given codes."""
        mean = codes.mean(dim=0)
        centred = codes - mean
        gram = centred.T @ centred + self.decay * torch.eye(codes.shape[1], dtype=x.dtype, device=x.device)
        decoder = torch.linalg.solve(gram, centred.T @ x).T
        return decoder, -decoder @ mean

    def _codes(self, x: torch.Tensor, decoder: torch.Tensor, encoded: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """B for given encoder and decoder: each bit of all vectors exactly, in sweeps until none changes."""
        products = decoder.T @ decoder
        products.fill_diagonal_(0)
        aims = (x @ decoder + self.encoding * encoded).T.contiguous()
        rows = codes.T.contiguous()
        for _ in range(SWEEPS):
            before = rows.clone()
            for bit, row in enumerate(rows):
                row.copy_(signs(aims[bit] - products[bit] @ rows))
            if torch.equal(before, rows):
                break
        return rows.T

    def _objective(
        self, x: torch.Tensor, codes: torch.Tensor, weights: torch.Tensor, offset: torch.Tensor, decoder: torch.Tensor, shift: torch.Tensor
    ) -> float:
        rebuilt = (x - codes @ decoder.T - shift).square().sum()
        encoded = (codes - x @ weights.T - offset).square().sum()
        return float(rebuilt + self.encoding * encoded + self.decay * (weights.square().sum() + decoder.square().sum())) / 2

    def bits_of(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors @ self.weights_.to(vectors).T + self.offset_.to(vectors) >= 0
