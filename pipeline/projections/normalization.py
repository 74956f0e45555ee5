"""The l2 norm that every descriptor ends with."""

import torch


def l2(vectors: torch.Tensor) -> torch.Tensor:
    """Divide by the Euclidean norm along the last axis; a zero vector stays zero."""
    norms = vectors.norm(dim=-1, keepdim=True)
    return vectors / torch.where(norms > 0, norms, torch.ones_like(norms))
