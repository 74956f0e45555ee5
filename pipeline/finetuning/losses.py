"""The triplet loss and the cross-entropies (paper 4, equations 3.1 to 3.6)."""

import torch
from torch.nn import functional as F


def triplet_loss(descriptors: torch.Tensor, triplets: torch.Tensor, margin: float = 0.1) -> torch.Tensor:
    """Σ max(0, a·n − a·p + margin) (equation 3.4); for l2-normalised descriptors the same as equation 3.2, half its squared distances.

    Args:
        descriptors: (N, D), l2-normalised.
        triplets: (n, 3) int64: anchor, positive, negative.

    Returns:
        A scalar, 0 without triplets.
    """
    return triplet_losses(descriptors, triplets, margin).sum()


def triplet_losses(descriptors: torch.Tensor, triplets: torch.Tensor, margin: float) -> torch.Tensor:
    """(n,): the loss of each triplet; one whose loss is above 0 is active."""
    anchor, positive, negative = (descriptors[places] for places in triplets.T)
    return ((anchor * negative).sum(dim=1) - (anchor * positive).sum(dim=1) + margin).clamp(min=0)


def window_cross_entropy(scores: torch.Tensor, labels: torch.Tensor, places: torch.Tensor | None = None) -> torch.Tensor:
    """Cross-entropy of class scores, averaged over the locations, for each image (equation 3.5).

    Softmax cross-entropy: the binary form that is printed has its prediction and its label exchanged.

    Args:
        scores: (B, C, H, W).
        labels: (B,) int64.
        places: (B, k) the locations that count, row by row (equation 3.6); all of them where nothing is said.

    Returns:
        (B,).
    """
    flat = scores.flatten(2)
    if places is not None:
        flat = flat.gather(2, places.unsqueeze(1).expand(-1, flat.shape[1], -1))
    targets = labels.unsqueeze(1).expand(-1, flat.shape[2])
    return F.cross_entropy(flat, targets, reduction="none").mean(dim=1)
