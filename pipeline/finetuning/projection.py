"""The region head before training: centre and rotate to principal components (Gordo et al., 2016)."""

import torch

from pipeline.contracts.errors import ModelError

FLOOR = 1e-3
"""Eigenvalues are not taken below this share of the mean one, or whitening would blow noise up."""


def principal_projection(vectors: torch.Tensor, dimensions: int, whiten: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(shift (D,), weight (dimensions, D)) so that weight · (vector + shift) are principal components, by falling variance.

    Args:
        vectors: (N, D).
        whiten: divide each component by its standard deviation.

    Raises:
        ModelError: more components than the vectors bear.
    """
    wide = vectors.double()
    mean = wide.mean(dim=0)
    centred = wide - mean
    eigenvalues, components = torch.linalg.eigh(centred.T @ centred / max(len(wide) - 1, 1))
    eigenvalues, components = eigenvalues.flip(0), components.flip(1).T
    bearable = min(len(wide) - 1, int((eigenvalues > eigenvalues[0] * 1e-9).sum()))
    if dimensions > bearable:
        raise ModelError(
            f"dimensions: {dimensions} components are wanted, but {len(wide)} regions of the training photographs bear only {bearable}; "
            "lower dimensions, or set initial to random"
        )
    kept = components[:dimensions]
    if whiten:
        kept = kept / eigenvalues[:dimensions].clamp(min=float(eigenvalues.mean()) * FLOOR).sqrt()[:, None]
    return -mean.to(vectors.dtype), kept.to(vectors.dtype)
