"""The triplet loss and the cross-entropies (paper 4, equations 3.1 to 3.6)."""

import torch
from torch.nn import functional as F


def triplet_loss(descriptors: torch.Tensor, triplets: torch.Tensor, margin: float = 0.1) -> torch.Tensor:
    """Σ max(0, a·n − a·p + margin) (equation 3.4); for l2-normalised descriptors the same as equation 3.2, half its squared distances.

    Args:
        descriptors: (N, D), l2-normalised; or their similarities (N, N), which are known by being square, symmetric and 1 on the diagonal.
        triplets: (n, 3) int64: anchor, positive, negative.

    Returns:
        A scalar, 0 without triplets.
    """
    return triplet_losses(descriptors, triplets, margin).sum()


def triplet_losses(descriptors: torch.Tensor, triplets: torch.Tensor, margin: float) -> torch.Tensor:
    """(n,): the loss of each triplet; one whose loss is above 0 is active."""
    anchor, positive, negative = triplets.T
    if _are_similarities(descriptors):
        to_negative, to_positive = descriptors[anchor, negative], descriptors[anchor, positive]
    else:
        to_negative = (descriptors[anchor] * descriptors[negative]).sum(dim=1)
        to_positive = (descriptors[anchor] * descriptors[positive]).sum(dim=1)
    return (to_negative - to_positive + margin).clamp(min=0)


def _are_similarities(values: torch.Tensor) -> bool:
    if values.shape[0] != values.shape[1]:
        return False
    tolerance = 1e-4
    return bool(torch.allclose(values.diagonal(), torch.ones_like(values[0]), atol=tolerance) and torch.allclose(values, values.T, atol=tolerance))


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
