"""Clusters of local features by normalised cut, as regions of any shape (paper 2, §3)."""

from collections.abc import Sequence

import torch

from pipeline.aggregation.spectral import leading_eigenvectors
from pipeline.projections.normalization import l2

STARTS = 4
STEPS = 20
SAME = 1e-4
"""Similarities of two nodes that differ by less are those of one node seen twice."""


def feature_similarity(features: torch.Tensor, variances: torch.Tensor | None, scale: float) -> torch.Tensor:
    """exp(−(d_ij / z)²) with d_ij the weighted l2 distance of two features and z = scale · max d of their image (equations 2 and 3).

    Args:
        features: (N, C) of one image, or (B, N, C).
        variances: (C,) of the components; each weighs its share of their sum. None: all weigh the same.

    Returns:
        (N, N) or (B, N, N) float32; all ones where all features are the same.
    """
    weights = torch.ones(features.shape[-1]) if variances is None else variances
    weights = (weights / weights.sum().clamp(min=torch.finfo(torch.float32).tiny)).to(features)
    return gaussian_similarity((features - features.mean(dim=-2, keepdim=True)) * weights.sqrt(), scale)


def spatial_similarity(height: int, width: int, scale: float, device: torch.device | str = "cpu") -> torch.Tensor:
    """The same for the locations of an H×W map: (N, N); multiplied with feature similarity it is the spatial term of Shi and Malik (§3.2)."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    places = torch.stack([y.flatten(), x.flatten()], dim=1).float()
    return gaussian_similarity(places - places.mean(dim=0), scale)


def gaussian_similarity(points: torch.Tensor, scale: float) -> torch.Tensor:
    """exp(−(d / z)²) between centred points (…, N, C), with z = scale · max d: (…, N, N)."""
    norms, ones = points.square().sum(dim=-1, keepdim=True), torch.ones_like(points[..., :1])
    squares = torch.cat([-2 * points, norms, ones], dim=-1) @ torch.cat([points, ones, norms], dim=-1).mT
    widest = squares.amax(dim=(-2, -1), keepdim=True)
    same = widest <= torch.finfo(squares.dtype).eps * norms.amax(dim=-2, keepdim=True)  # what rounding leaves of identical points
    similarity = squares.div_(torch.where(same, -torch.inf, -widest * scale**2)).clamp_(max=0).exp_()
    similarity.diagonal(dim1=-2, dim2=-1).fill_(1)
    return similarity


def normalized_cut(similarity: torch.Tensor, counts: Sequence[int], regularisation: float = 0.0, starts: int = STARTS) -> list[torch.Tensor]:
    """Clusters of small normalised cut (Shi and Malik, 2000), discretised as Yu and Shi (2003) do; one eigendecomposition serves all counts.

    Deterministic. Nodes with equal similarities to all others count once: there are never more clusters than nodes that differ.
    Some clusters may be empty.

    Args:
        similarity: (N, N), or (B, N, N) for a batch: symmetric, not negative, positive on the diagonal.
        counts: numbers of clusters.
        regularisation: see `leading_eigenvectors`.
        starts: rotations that the discretisation begins from; the labels with the smallest cut are kept.

    Returns:
        For each count the labels (N,) or (B, N) int64, from 0 to the count − 1.

    Raises:
        ValueError: a count below 1.
    """
    if not counts or min(counts) < 1:
        raise ValueError(f"counts {list(counts)}: numbers of clusters start at 1")
    batch = similarity if similarity.dim() == 3 else similarity[None]
    nodes = batch.shape[1]
    distinct = _distinct(batch)
    _, vectors = leading_eigenvectors(batch, min(max(counts), nodes), regularisation)
    roots = (batch.sum(dim=2) + 2 * regularisation).rsqrt()[:, :, None]
    labels = []
    for count in counts:
        own = torch.zeros(len(batch), nodes, dtype=torch.int64, device=batch.device)
        usable = distinct.clamp(max=count)
        for kept in usable.unique().tolist():
            chosen = (usable == kept).nonzero()[:, 0] if bool((usable != kept).any()) else slice(None)
            if kept > 1:
                own[chosen] = discretise(batch[chosen], vectors[chosen, :, :kept] * roots[chosen], starts, regularisation)
        labels.append(own if similarity.dim() == 3 else own[0])
    return labels


def _distinct(similarity: torch.Tensor) -> torch.Tensor:
    """(B,) numbers of nodes with different rows, by the rows' products with one fixed random vector."""
    nodes = similarity.shape[1]
    probe = torch.rand(nodes, 1, generator=torch.Generator().manual_seed(0)).to(similarity)
    ordered = (similarity @ probe)[:, :, 0].sort(dim=1).values
    return 1 + (ordered.diff(dim=1) > SAME).sum(dim=1)


def discretise(similarity: torch.Tensor, vectors: torch.Tensor, starts: int, regularisation: float = 0.0) -> torch.Tensor:
    """Labels (B, N) from generalised eigenvectors (B, N, k): rows to unit length, then by turns the nearest labels and the best rotation.

    A start takes a node and, one by one, the nodes that are least like those before (Yu and Shi, 2003, §3). Every second start leaves out
    that the published code brings the eigenvectors to one length, which spoils what blocks without any link between them give.
    """
    nodes = vectors.shape[1]
    variants = [l2(vectors / vectors.norm(dim=1, keepdim=True).clamp(min=torch.finfo(vectors.dtype).tiny)), l2(vectors)]
    found = [_from_start(variants[start % 2], int((start + 0.5) * nodes / starts)) for start in range(starts)]
    if starts == 1:
        return found[0]
    cuts = torch.stack([cut_values(similarity, labels, vectors.shape[2], regularisation) for labels in found])
    return torch.stack(found)[cuts.argmin(dim=0), torch.arange(len(vectors), device=vectors.device)]


def _from_start(rows: torch.Tensor, first: int) -> torch.Tensor:
    rotation, count = _spread_rows(rows, first), rows.shape[2]
    found = rows.new_zeros(rows.shape[:2], dtype=torch.int64)
    agreement = rows.new_full((len(rows),), -1.0)
    settled = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for _ in range(STEPS):
        found = torch.where(settled[:, None], found, (rows @ rotation).argmax(dim=2))
        left, values, right = torch.linalg.svd(_members(found, count, rows).mT @ rows)
        before, agreement = agreement, values.sum(dim=1)
        settled |= (agreement - before).abs() < 1e-4
        if bool(settled.all()):
            break
        rotation = (left @ right).mT
    return found


def _members(labels: torch.Tensor, count: int, like: torch.Tensor) -> torch.Tensor:
    """(B, N, count): 1 where a node is in a cluster."""
    return like.new_zeros(*labels.shape, count).scatter_(2, labels[:, :, None], 1.0)


def _spread_rows(rows: torch.Tensor, first: int) -> torch.Tensor:
    """(B, k, k) of which each column is a row of (B, N, k), as orthogonal to those before as there is one."""
    every = torch.arange(len(rows), device=rows.device)
    chosen, likeness = [rows[:, first]], rows.new_zeros(rows.shape[:2])
    for _ in range(rows.shape[2] - 1):
        likeness = likeness + (rows @ chosen[-1][:, :, None])[:, :, 0].abs()
        chosen.append(rows[every, likeness.argmin(dim=1)])
    return torch.stack(chosen, dim=2)


def cut_values(similarity: torch.Tensor, labels: torch.Tensor, count: int, regularisation: float = 0.0) -> torch.Tensor:
    """(B,) normalised cuts: over the clusters, the share of similarity that leaves each; 1 for an empty one."""
    members = _members(labels, count, similarity)
    linked, sizes = similarity @ members, members.sum(dim=1)
    volumes = linked.sum(dim=1) + 2 * regularisation * sizes
    inside = (members * linked).sum(dim=1) + regularisation * sizes
    return count - (inside / volumes.clamp(min=torch.finfo(similarity.dtype).tiny)).sum(dim=1)


def cluster_max(maps: torch.Tensor, labels: torch.Tensor, count: int) -> torch.Tensor:
    """Maximum activation of every cluster.

    Args:
        maps: (B, K, H, W).
        labels: (B, H·W), below `count`.

    Returns:
        (B, count, K); zeros for an empty cluster.
    """
    flat = maps.flatten(2)
    pooled = flat.new_zeros(*flat.shape[:2], count)
    return pooled.scatter_reduce_(2, labels[:, None].expand_as(flat), flat, "amax", include_self=False).mT
