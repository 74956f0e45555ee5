"""Average precision, by explicit rankings and by counts, with ties averaged over the orders that they allow."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RULES = ("trapezoid", "plain")


def average_precision(
    ranking: Sequence[Hashable], positives: Collection[Hashable], junk: Collection[Hashable] = (), rule: str = "trapezoid"
) -> float:
    """AP of one ranking, best first.

    `trapezoid` is the rule of the Oxford buildings' evaluation (Philbin et al., 2007): the area under the precision-recall
    curve by trapezoids. `plain` is the mean over the positives of precision at their rank. Junk is removed from the ranking;
    positives that are not in it contribute 0.

    Raises:
        ValueError: no positives, or an unknown rule.
    """
    wanted, ignored = set(positives), set(junk)
    kept = [item for item in ranking if item not in ignored]
    ranks = np.array([rank for rank, item in enumerate(kept) if item in wanted], np.int64)
    ones = np.ones(len(ranks), np.int64)
    return tied_average_precision(TieGroups(ranks, ones, np.arange(len(ranks)), ones), len(wanted), rule)


@dataclass(frozen=True)
class TieGroups:
    """Groups of equally scored images that hold positives, best first; junk is left out.

    Attributes:
        before: images ranked above the group.
        size: images in the group.
        found: positives ranked above the group.
        positives: positives in the group.
    """

    before: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    found: npt.NDArray[np.int64]
    positives: npt.NDArray[np.int64]


def tie_groups(
    scores: npt.NDArray[np.float32], above: npt.NDArray[np.int64], equal: npt.NDArray[np.int64], positive: npt.NDArray[np.bool_]
) -> TieGroups:
    """Groups from counts of labelled images (positives and junk) in the database.

    Args:
        above: database images with a higher score.
        equal: database images with the same score, the image itself included.
        positive: False for junk.
    """
    values, first, counts = np.unique(-scores[positive], return_index=True, return_counts=True)
    junk = np.sort(-scores[~positive])
    junk_above, junk_up_to = np.searchsorted(junk, values), np.searchsorted(junk, values, side="right")
    before = above[positive][first] - junk_above
    size = equal[positive][first] - (junk_up_to - junk_above)
    return TieGroups(before, size, np.cumsum(counts) - counts, counts.astype(np.int64))


def tied_average_precision(groups: TieGroups, n_positive: int, rule: str = "trapezoid") -> float:
    """Expected AP over all orders of the ties, in closed form.

    A position of a group of m images with p positives holds one with probability p/m, and then (p − 1)/(m − 1) of the
    positions before it in the group hold one.

    Raises:
        ValueError: no positives, or an unknown rule.
    """
    if n_positive < 1:
        raise ValueError("a query without positives has no average precision")
    if rule not in RULES:
        raise ValueError(f"rule {rule!r} is unknown; there are: {', '.join(RULES)}")
    total = 0.0
    for before, size, found, positives in zip(groups.before, groups.size, groups.found, groups.positives, strict=True):
        place = np.arange(size, dtype=np.float64)
        rank = before + place
        earlier = found + place * ((positives - 1) / max(size - 1, 1))
        precision = (earlier + 1) / (rank + 1)
        if rule == "trapezoid":
            left = np.divide(earlier, rank, out=np.ones_like(rank), where=rank > 0)
            precision = (left + precision) / 2
        total += float(precision.sum()) * positives / size
    return total / n_positive


def expected_positives(groups: TieGroups, k: int) -> float:
    """Expected number of positives among the first k results."""
    inside = np.clip(k - groups.before, 0, groups.size)
    return float((groups.positives * inside / groups.size).sum())


def chance_level(database: int, n_positive: int, rule: str) -> float:
    """AP of a random order: everything in one tie."""
    one = np.ones(1, np.int64)
    return tied_average_precision(TieGroups(0 * one, database * one, 0 * one, min(n_positive, database) * one), n_positive, rule)
