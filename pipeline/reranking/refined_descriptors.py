"""SuperGlobal's re-ranking (Shao et al., ICCV 2023, §3.2): descriptors refined by their neighbours, and a query made of the best of them."""

import torch


def refined_scores(query: torch.Tensor, vectors: torch.Tensor, neighbours: int = 9, weight: float = 0.15, best: int = 10) -> torch.Tensor:
    """Mean of two products with each refined descriptor: the query's, and that of the maximum over the best refined descriptors.

    A refined descriptor is a weighted mean of an image and its neighbours within the shortlist. The image weighs 1, a neighbour `weight` times
    its product with the image, and nothing where that is negative. The second query is the maximum, dimension by dimension, of the refined
    descriptors that are most like the query, without the query itself, as in the authors' code. Nothing is normalised again.

    Args:
        query: (D,), l2-normalised.
        vectors: (S, D), l2-normalised: the shortlist.
        neighbours: K, fewer where there are not that many.
        weight: β.
        best: refined descriptors that make the second query, K + 1 in the paper; 0: none, and the first product alone counts.

    Returns:
        (S,) scores.
    """
    products = vectors @ vectors.T
    found = products.fill_diagonal_(-torch.inf).topk(min(neighbours, len(vectors) - 1), dim=1)
    weights = weight * found.values.clamp(min=0)
    total = vectors + torch.einsum("sk,skd->sd", weights, vectors[found.indices])
    refined = total / (1 + weights.sum(dim=1, keepdim=True))
    first = refined @ query
    if not best:
        return first
    second = refined[first.topk(min(best, len(vectors))).indices].amax(dim=0)
    return (first + refined @ second) / 2
