"""Leading eigenvectors of normalised similarity matrices, for batches of them, on the processor or an accelerator."""

import torch

DENSE_UP_TO = 160
"""Nodes up to which a full eigendecomposition is as fast."""
SPARE = 12
"""Vectors carried beyond the wanted ones: the filter separates the wanted from what lies below these."""
DEGREE = 8
ROUNDS = 12
TOLERANCE = 2.5e-3


def leading_eigenvectors(similarity: torch.Tensor, count: int, regularisation: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest eigenpairs of D^(−1/2) (S + r·I) D^(−1/2) with D the row sums of S plus 2r (Shi and Malik, 2000).

    Large matrices go through subspace iteration with a Chebyshev filter (Zhou et al., 2006) until the sum of the wanted eigenvalues,
    and so the normalised cut that it bounds, is known to a quarter of a per cent; a matrix whose spectrum does not part is decomposed
    in full.

    Args:
        similarity: (B, N, N) float32, symmetric, not negative, each diagonal entry positive.
        count: 1 to N.
        regularisation: r; 0.5 in Shi's published code, which keeps single odd nodes from being clusters of their own.

    Returns:
        (B, count) eigenvalues, descending, and (B, N, count) orthonormal eigenvectors.
    """
    inverse_root = (similarity.sum(dim=2) + 2 * regularisation).rsqrt()
    normalised = (similarity * inverse_root[:, :, None]).mul_(inverse_root[:, None])
    normalised.diagonal(dim1=1, dim2=2).add_(regularisation * inverse_root.square())
    if similarity.shape[1] <= max(DENSE_UP_TO, 4 * (count + SPARE)):
        return _dense(normalised, count)
    values, vectors, settled = _filtered(normalised, count)
    for index in (~settled).nonzero()[:, 0].tolist():
        values[index : index + 1], vectors[index : index + 1] = _dense(normalised[index : index + 1], count)
    return values, vectors


def _dense(normalised: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    values, vectors = torch.linalg.eigh(normalised.double())
    return values.flip(1)[:, :count].to(normalised), vectors.flip(2)[:, :, :count].to(normalised)


def _filtered(normalised: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Eigenvalues, eigenvectors, and whether each matrix's are settled."""
    batch, nodes = normalised.shape[:2]
    start = torch.randn(nodes, count + SPARE, generator=torch.Generator().manual_seed(0))
    values, block, image = _rotate(normalised, normalised @ (normalised @ start.to(normalised).expand(batch, nodes, -1)))
    settled = torch.zeros(batch, dtype=torch.bool, device=normalised.device)
    found_values, found = values[:, :count].clone(), block[:, :, :count].clone()
    for _ in range(ROUNDS):
        values, block, image = _rotate(normalised, _chebyshev(normalised, block, image, values[:, -1]))
        residuals = (image - block * values[:, None]).square().sum(dim=1)
        missing = (residuals / (values - values[:, -1:]).clamp(min=1e-6))[:, :count].sum(dim=1)  # of the eigenvalues' sum (Kato and Temple)
        found_values = torch.where(settled[:, None], found_values, values[:, :count])  # what an image gives does not depend on the others
        found = torch.where(settled[:, None, None], found, block[:, :, :count])
        settled |= missing <= TOLERANCE * (count - values[:, :count].sum(dim=1)).clamp(min=1e-3)
        if bool(settled.all()):
            break
    return found_values, found, settled


def _rotate(normalised: torch.Tensor, block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rayleigh–Ritz: the best eigenvalues (B, p) and vectors (B, N, p) within the span of a block, and the matrix times these.

    Blocks after a filter are nearly dependent, so the small matrices are handled in float64.
    """
    wide = block.double()
    wide = wide / wide.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    gram = wide.mT @ wide
    gram.diagonal(dim1=1, dim2=2).add_(1e-10)
    basis = torch.linalg.solve_triangular(torch.linalg.cholesky(gram), wide.mT, upper=False).mT.to(block)
    image = normalised @ basis
    inner = (basis.mT @ image).double()
    values, turn = torch.linalg.eigh((inner + inner.mT) / 2)
    turn = turn.flip(2).to(block)
    return values.flip(1).to(block), basis @ turn, image @ turn


def _chebyshev(normalised: torch.Tensor, block: torch.Tensor, image: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """A polynomial of each matrix times its block: small on [0, below (B,)], large above, scaled to 1 at 1."""
    half = (below.clamp(2e-3, 0.999) / 2)[:, None, None]
    first = scale = half / (1 - half)
    previous, current = block, (image / half - block) * scale
    for _ in range(DEGREE - 1):
        following = 1 / (2 / first - scale)
        mixed = (previous * (-scale * following)).addcmul_(current, -2 * following)
        previous, current = current, torch.baddbmm(mixed, normalised, current * (2 * following / half))
        scale = following
    return current
