"""Which triplets (anchor, positive, negative) are trained on, from the similarities of all images (paper 4, §3.2.3)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

PAIRS_AT_ONCE = 4096


class Similarities(Protocol):
    """Rows (m, N) of the similarities of N images, for (m,) of them: a matrix, or what computes them in batches."""

    def __getitem__(self, rows: torch.Tensor, /) -> torch.Tensor: ...


@dataclass(frozen=True)
class DescriptorSimilarities:
    """Similarities of descriptors (N, D), computed row by row, so that N² of them are never held."""

    descriptors: torch.Tensor

    def __getitem__(self, rows: torch.Tensor, /) -> torch.Tensor:
        """(m, N) of (m,) images."""
        return self.descriptors[rows] @ self.descriptors.T


def positive_pairs(labels: torch.Tensor) -> torch.Tensor:
    """(P, 2): all pairs i ≤ j of one label, by i, then j; an image is a pair with itself, which two changed views of it are."""
    own = [(labels == label).nonzero().flatten() for label in labels.unique()]
    pairs = torch.cat([torch.combinations(images, 2, with_replacement=True) for images in own])
    return pairs[torch.argsort(pairs[:, 0] * len(labels) + pairs[:, 1])]


def semi_hard_triplets(similarity: Similarities, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """For every positive pair the most similar negative of the anchor that is less similar than the positive; a random negative where none is.

    Args:
        similarity: (N, N).
        labels: (N,) int64.
        seed: of the random negatives.

    Returns:
        (n, 3) int64: anchor, positive, negative; none for an anchor without negatives.
    """
    generator = torch.Generator().manual_seed(seed)

    def choose(own: torch.Tensor, to_positive: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        below = negatives & (own < to_positive)
        drawn = torch.rand(own.shape, generator=generator).to(own.device).masked_fill(~negatives, -1).argmax(dim=1)
        return torch.where(below.any(dim=1), own.masked_fill(~below, -torch.inf).argmax(dim=1), drawn)

    return _for_every_pair(similarity, labels, choose)


def hardest_triplets(similarity: Similarities, labels: torch.Tensor) -> torch.Tensor:
    """For every positive pair the most similar negative of the anchor.

    Args:
        similarity: (N, N).
        labels: (N,) int64.

    Returns:
        (n, 3) int64: anchor, positive, negative; none for an anchor without negatives.
    """
    return _for_every_pair(similarity, labels, lambda own, _, negatives: own.masked_fill(~negatives, -torch.inf).argmax(dim=1))


def _for_every_pair(similarity: Similarities, labels: torch.Tensor, choose: Callable[..., torch.Tensor]) -> torch.Tensor:
    found = []
    for pairs in positive_pairs(labels).split(PAIRS_AT_ONCE):
        own, negatives = similarity[pairs[:, 0]], labels[pairs[:, 0]][:, None] != labels[None, :]
        chosen = choose(own, own.gather(1, pairs[:, 1:]), negatives)
        found.append(torch.cat([pairs, chosen[:, None]], dim=1)[negatives.any(dim=1)])
    return torch.cat(found)


def easiest_hardest_triplets(similarity: Similarities, labels: torch.Tensor, positives: int, negatives: int, kept: int) -> torch.Tensor:
    """Of every image the easiest positives × the hardest negatives, and of these the triplets of highest loss (Gordo et al., 2017).

    An image that has no other of its label is its own positive.

    Returns:
        (n, 3) int64, at most `kept` for an anchor, by anchor, the hardest first.
    """
    found = []
    for anchor in torch.arange(len(labels), device=labels.device).split(1):
        own, same = similarity[anchor][0], labels == labels[anchor]
        others = same.clone()
        others[anchor] = same.sum() == 1
        triplets = torch.cartesian_prod(anchor, _most_similar(own, others, positives), _most_similar(own, ~same, negatives)).reshape(-1, 3)
        losses = own[triplets[:, 2]] - own[triplets[:, 1]]
        found.append(triplets[losses.argsort(descending=True, stable=True)[:kept]])
    return torch.cat(found)


def _most_similar(own: torch.Tensor, allowed: torch.Tensor, count: int) -> torch.Tensor:
    return own.masked_fill(~allowed, -torch.inf).topk(min(count, int(allowed.sum()))).indices


def balanced(triplets: torch.Tensor, instances: torch.Tensor) -> torch.Tensor:
    """Triplets in rounds: each round takes one triplet of every instance that has any left, in the order in which they come.

    Args:
        triplets: (n, 3).
        instances: (n,) int64, of each one's anchor.
    """
    grouped = instances.argsort(stable=True)
    counts = instances[grouped].unique_consecutive(return_counts=True)[1]
    rounds = torch.empty_like(instances)
    rounds[grouped] = torch.arange(len(instances)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    return triplets[rounds.argsort(stable=True)]
