"""Re-ranking by k-reciprocal neighbours (Zhong et al., 2017)."""

import torch


def k_reciprocal_scores(query: torch.Tensor, vectors: torch.Tensor, nearest: int = 20, local: int = 6, balance: float = 0.3) -> torch.Tensor:
    """Minus the mixture of the Jaccard distance of k-reciprocal neighbourhoods and the descriptors' own distance (equation 12).

    Args:
        query: (D,), l2-normalised.
        vectors: (S, D), l2-normalised: the shortlist, in which the neighbours are looked for.
        nearest, local: k1 and k2, fewer where there are not that many.
        balance: λ, the share of the own distance.

    Returns:
        (S,) from −1 to 0.
    """
    nodes = torch.cat([query[None], vectors])
    distances = (2 - 2 * nodes @ nodes.T).clamp(min=0)
    distances = distances / distances.amax(dim=1, keepdim=True).clamp(min=torch.finfo(distances.dtype).tiny)
    order = distances.fill_diagonal_(-1).sort(dim=1, stable=True).indices  # every node first among its own, also where it has copies
    distances.fill_diagonal_(0)
    hoods = _neighbourhoods(order, nearest)
    weights = torch.where(hoods, torch.exp(-distances), torch.zeros_like(distances))
    weights = weights / weights.sum(dim=1, keepdim=True)
    if local > 1:
        weights = _among(order, min(local, len(nodes))).to(weights) @ weights / min(local, len(nodes))
    shared = torch.minimum(weights[:1], weights[1:]).sum(dim=1)
    return -((1 - balance) * (1 - shared / (2 - shared)) + balance * distances[0, 1:])


def _neighbourhoods(order: torch.Tensor, nearest: int) -> torch.Tensor:
    """(n, n) bool: k-reciprocal neighbours, with those of a neighbour added where most of them are its own already (equation 5)."""
    mutual, half = (_mutual(order, min(count + 1, len(order))) for count in (nearest, round(nearest / 2)))
    shared = mutual.float() @ half.float().T
    joined = mutual & (shared > 2 / 3 * half.sum(dim=1).float()[None])
    return mutual | (joined.float() @ half.float() > 0)


def _mutual(order: torch.Tensor, count: int) -> torch.Tensor:
    own = _among(order, count)
    return own & own.T


def _among(order: torch.Tensor, count: int) -> torch.Tensor:
    """(n, n) bool: whether the column is among the first `count` of the row's order."""
    chosen = torch.zeros_like(order, dtype=torch.bool)
    return chosen.scatter_(1, order[:, :count], value=True)
