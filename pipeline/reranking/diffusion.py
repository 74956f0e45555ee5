"""Diffusion on the mutual neighbour graph of a shortlist (Iscen et al., 2017)."""

import math

import torch

REACHED = 1e-6
"""Of the most that an image has: less than this does not count as reached."""
LOG_REACHED = math.log10(REACHED)
LEAST_COSINE = 1e-4
"""That the best image counts with; it can have none where only its neighbours are like the query."""


def diffusion_scores(
    query: torch.Tensor,
    vectors: torch.Tensor,
    nearest: int = 50,
    query_nearest: int = 10,
    damping: float = 0.99,
    exponent: float = 3.0,
    iterations: int = 20,
) -> torch.Tensor:
    """How much of what starts at the query's neighbours reaches each image: f of (I − α·S) f = y.

    S is the graph's affinity, cosines to the power γ where two images are among each other's neighbours, normalised by the degrees on
    both sides; y holds the same of the query's neighbours. Solved by conjugate gradients.

    Args:
        query: (D,), l2-normalised.
        vectors: (S, D), l2-normalised.
        nearest, query_nearest: fewer where there are not that many.
        damping: α. exponent: γ.

    Returns:
        (S,) float64: for images that are reached 1 + c for the best, c its cosine, and a sixth of c less per power of ten; the cosine for
        the others, which keep their order behind. So the best scores of different queries can be compared.
    """
    query, vectors = query.double(), vectors.double()
    cosines = query @ vectors.T
    start = _strongest(cosines[None], query_nearest, exponent)[0]
    graph = mutual_graph(vectors, nearest, exponent)
    degrees = graph.sum(dim=1).clamp(min=torch.finfo(graph.dtype).tiny).rsqrt()
    graph = degrees[:, None] * graph * degrees[None]
    found = start.clone()
    residual = start - (found - damping * (graph @ found))
    direction, energy = residual.clone(), residual @ residual
    for _ in range(iterations):
        if float(energy) <= 1e-20 * float(start @ start):
            break
        image = direction - damping * (graph @ direction)
        step = energy / (direction @ image)
        found, residual = found + step * direction, residual - step * image
        before, energy = energy, residual @ residual
        direction = residual + energy / before * direction
    shares = found / found.max().clamp(min=torch.finfo(found.dtype).tiny)
    best = cosines[found.argmax()].clamp(min=LEAST_COSINE)
    return torch.where(shares > REACHED, 1 + best * (1 - shares.clamp(min=REACHED).log10() / LOG_REACHED), cosines.clamp(max=1))


def mutual_graph(vectors: torch.Tensor, nearest: int, exponent: float) -> torch.Tensor:
    """(S, S), symmetric, zero diagonal: cosines to the power `exponent` between images that are among each other's `nearest`."""
    cosines = vectors @ vectors.T
    cosines.fill_diagonal_(-torch.inf)
    own = _strongest(cosines, min(nearest, len(vectors) - 1), exponent)
    return torch.minimum(own, own.T)


def _strongest(cosines: torch.Tensor, count: int, exponent: float) -> torch.Tensor:
    """The largest `count` of each row, not below 0, to the power `exponent`; 0 elsewhere."""
    values, places = cosines.sort(dim=1, descending=True, stable=True)
    return torch.zeros_like(cosines).scatter_(1, places[:, :count], values[:, :count].clamp(min=0).pow(exponent))
