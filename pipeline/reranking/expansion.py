"""Weighted means with neighbours: of queries with their first results, of database images with each other."""

from typing import assert_never

import torch

from pipeline.reranking.params import Weights

ROWS_AT_ONCE = 1024
VALUES_AT_ONCE = 2**26
"""Of scores, and of neighbours: a quarter of a gibibyte each."""


def expand_queries(queries: torch.Tensor, neighbours: torch.Tensor, weights: Weights = "uniform", alpha: float = 3.0) -> torch.Tensor:
    """Query expansion: l2 of the query plus the weighted sum of its neighbours (Chum et al., 2007; α-weighted: Radenović et al., 2018).

    Args:
        queries: (Q, D), l2-normalised.
        neighbours: (Q, n, D), the best first.
        weights: of a neighbour, where the query weighs 1. `uniform`: 1; `rank`: (n + 1 − r) / (n + 1) for the r-th; `similarity`: the cosine,
            not below 0, to the power `alpha`.

    Returns:
        (Q, D), l2-normalised; a query of zeros stays one, as it is like nothing.
    """
    count = neighbours.shape[1]
    match weights:
        case "similarity":
            own = torch.einsum("qd,qnd->qn", queries, neighbours).clamp(min=0).pow(alpha)
        case "rank":
            own = (torch.arange(count, 0, -1, device=queries.device) / (count + 1)).to(queries).expand(len(queries), count)
        case "uniform":
            own = queries.new_ones(len(queries), count)
        case _:
            assert_never(weights)
    mixed = queries + torch.einsum("qn,qnd->qd", own, neighbours) * queries.any(dim=1, keepdim=True)
    lengths: torch.Tensor = mixed.norm(dim=1, keepdim=True).clamp(min=torch.finfo(mixed.dtype).tiny)
    return mixed / lengths


def average_instances(vectors: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One vector per instance: l2 of the mean of its images' (paper 4, §5.4.4).

    Args:
        vectors: (N, D), l2-normalised.
        labels: (N,) int64.

    Returns:
        (I, D), l2-normalised, and the labels (I,) that they belong to, ascending.
    """
    found, places = labels.unique(return_inverse=True)
    total = vectors.new_zeros(len(found), vectors.shape[1]).index_add_(0, places, vectors)
    lengths = total.norm(dim=1, keepdim=True)
    return total / torch.where(lengths > 0, lengths, torch.ones_like(lengths)), found


def augment_within_instances(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Every vector plus the others of its instance, the r-th nearest of n weighing (n + 1 − r) / (n + 1), l2-normalised.

    Args:
        vectors: (N, D), l2-normalised.
        labels: (N,) int64.

    Returns:
        (N, D), l2-normalised.
    """
    augmented = vectors.clone()
    for images in torch.split(labels.argsort(stable=True), labels.unique(return_counts=True)[1].tolist()):
        augmented[images] = augment_database(vectors[images], len(images) - 1)
    return augmented


def augment_database(vectors: torch.Tensor, neighbours: int, weights: Weights = "rank", alpha: float = 3.0) -> torch.Tensor:
    """Database-side augmentation: every vector as a query that is expanded by its nearest others, itself left out by its index.

    Args:
        vectors: (N, D), l2-normalised; duplicates of a vector count as its neighbours.

    Returns:
        (N, D), l2-normalised; fewer neighbours where there are not that many others.
    """
    count = min(neighbours, len(vectors) - 1)
    if count < 1:
        return vectors.clone()
    augmented = torch.empty_like(vectors)
    at_once = max(1, min(ROWS_AT_ONCE, VALUES_AT_ONCE // len(vectors), VALUES_AT_ONCE // (count * vectors.shape[1])))
    for first in range(0, len(vectors), at_once):
        own = vectors[first : first + at_once]
        scores = own @ vectors.T
        rows = torch.arange(len(own), device=own.device)
        scores[rows, first + rows] = -torch.inf
        nearest = scores.topk(count, dim=1).indices
        augmented[first : first + len(own)] = expand_queries(own, vectors[nearest], weights, alpha)
    return augmented
