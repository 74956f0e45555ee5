"""From many embedded local features to one vector: sum, average, maximum, democratic and generalised max pooling (paper 3, §IV-C)."""

from collections.abc import Sequence

import torch

from pipeline.projections.normalization import l2
from pipeline.stage.errors import ModelError

AGGREGATIONS = ("sum", "average", "max", "democratic", "generalized_max")


def democratic_weights(gram: torch.Tensor, iterations: int = 10, exponent: float = 0.5) -> torch.Tensor:
    """Weights that give every feature the same say in the sum (Jégou and Zisserman, 2014, §4), by Sinkhorn iterations in vector form.

    Args:
        gram: (…, n, n) inner products of l2-normalised features; negative ones count as 0.

    Returns:
        (…, n); a feature without any positive product keeps weight 1.
    """
    gram = gram.clamp(min=0)
    weights = gram.new_ones(gram.shape[:-1])
    for _ in range(iterations):
        contributions = weights * torch.matmul(gram, weights[..., None])[..., 0]
        weights = weights * torch.where(contributions > 0, contributions, 1.0).pow(-exponent)
    return weights


def generalized_max_weights(gram: torch.Tensor, ridge: float) -> torch.Tensor:
    """Weights α of generalised max pooling: (G + ridge · I) α = 1 (Murray and Perronnin, 2014, equation 11).

    Args:
        gram: (…, n, n) inner products.
        ridge: above 0.

    Returns:
        (…, n).

    Raises:
        ModelError: the ridge is too small.
    """
    system = gram.double() + ridge * torch.eye(gram.shape[-1], dtype=torch.float64, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(system)
    if failed.any():
        raise ModelError(f"generalized_max cannot tell features this alike apart with ridge {ridge:g}; raise aggregate.selective.ridge")
    return torch.cholesky_solve(system.new_ones(*gram.shape[:-1], 1), factor)[..., 0].to(gram.dtype)


def aggregate(embedded: torch.Tensor, how: str, counts: Sequence[int] | None = None, ridge: float = 1.0) -> torch.Tensor:
    """One vector per image from its embedded features, not normalised.

    Args:
        embedded: (N, D), image after image.
        how: one of AGGREGATIONS; `democratic` l2-normalises the features first.
        counts: features of each image, N in all; None for one image.
        ridge: of generalised max pooling.

    Returns:
        (images, D), or (D,) where `counts` is None; an image without features gives zeros.

    Raises:
        ValueError: unknown `how`.
    """
    if how not in AGGREGATIONS:
        raise ValueError(f"aggregation {how!r} is unknown; there are: {', '.join(AGGREGATIONS)}")
    if counts is None:
        return aggregate(embedded, how, [len(embedded)], ridge)[0]
    if how in ("sum", "average"):
        sums = sum_by_image(embedded, counts)
        return sums if how == "sum" else sums / torch.tensor(counts, device=sums.device).clamp(min=1)[:, None]
    if how == "max":
        return _padded(embedded, counts, float("-inf")).amax(dim=1).nan_to_num(nan=float("nan"), posinf=float("inf"), neginf=0.0)
    features = _padded(l2(embedded) if how == "democratic" else embedded, counts, 0.0)
    gram = features @ features.mT
    weights = democratic_weights(gram) if how == "democratic" else generalized_max_weights(gram, ridge)
    return torch.matmul(weights[:, None], features)[:, 0]


def sum_by_image(features: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """(N, D) to the (images, D) sums of consecutive `counts` rows."""
    sums = features.new_zeros(len(counts), features.shape[1])
    for row, part in zip(sums, features.split(list(counts)), strict=True):
        torch.sum(part, dim=0, out=row)
    return sums


def _padded(features: torch.Tensor, counts: Sequence[int], filler: float) -> torch.Tensor:
    """(images, longest, D) of consecutive `counts` rows, at least one row each."""
    longest = max(1, *counts)
    if all(count == longest for count in counts):
        return features.reshape(len(counts), longest, features.shape[1])
    padded = features.new_full((len(counts), longest, features.shape[1]), filler)
    padded[torch.arange(longest) < torch.tensor(counts)[:, None]] = features
    return padded
