"""Measures that look at the first k results alone, with ties averaged over the orders that they allow."""

import numpy as np

from pipeline.evaluation.average_precision import TieGroups


def average_precision_at(groups: TieGroups, n_positive: int, k: int) -> float:
    """Expected AP of the first k results: the sum of the precisions at their positives by min(k, all positives) (Weyand et al., 2020, eq. 2).

    Raises:
        ValueError: no positives, or no results.
    """
    if n_positive < 1 or k < 1:
        raise ValueError("average precision needs a positive and a result")
    total = 0.0
    for before, size, found, positives in zip(*(values.tolist() for values in vars(groups).values()), strict=True):
        place = np.arange(max(min(size, k - before), 0), dtype=np.float64)
        earlier = found + place * (positives - 1) / max(size - 1, 1)
        total += float(((earlier + 1) / (before + place + 1)).sum()) * positives / size
    return total / min(k, n_positive)


def found_at(groups: TieGroups, k: int) -> float:
    """Probability that one of the first k results is a positive: Recall@k of metric learning (Song et al., 2016, §5)."""
    if not len(groups.before) or groups.before[0] >= k:
        return 0.0
    size, positives = int(groups.size[0]), int(groups.positives[0])
    inside = min(size, k - int(groups.before[0]))
    others = np.arange(positives, dtype=np.float64)
    return float(1 - np.prod(np.clip(size - inside - others, 0, None) / (size - others)))
