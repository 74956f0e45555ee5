"""Average precision, by explicit rankings and by counts, with ties averaged over the orders that they allow."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RULES = ("trapezoid", "plain")
LARGE = 4096
"""Images of a tie from which on its sum is taken in closed form instead of term by term."""


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
    tied = groups.size > 1
    right, left = _alone(groups.before[~tied], groups.found[~tied])
    total = (left + right) / 2 if rule == "trapezoid" else right
    for before, size, found, positives in zip(*(values[tied] for values in vars(groups).values()), strict=True):
        terms = _large_tie if size > LARGE else _tie
        right, left = terms(int(before), int(size), int(found), (positives - 1) / max(size - 1, 1))
        total += ((left + right) / 2 if rule == "trapezoid" else right) * positives / size
    return float(total / n_positive)


def expected_precisions(groups: TieGroups) -> npt.NDArray[np.float64]:
    """Of each group the precision at the rank of one of its positives, on average over the orders of the tie."""
    found = []
    for before, size, earlier, positives in zip(*vars(groups).values(), strict=True):
        terms = _large_tie if size > LARGE else _tie
        found.append(terms(int(before), int(size), int(earlier), (positives - 1) / max(size - 1, 1))[0] / size)
    return np.array(found, np.float64)


def _alone(before: npt.NDArray[np.int64], found: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Sums over positives that tie with nothing of the precision with each, and of that in front of it."""
    left = np.divide(found, before, out=np.ones(len(before)), where=before > 0)
    return float(((found + 1) / (before + 1)).sum()), float(left.sum())


def _tie(before: int, size: int, found: int, share: float) -> tuple[float, float]:
    """Sums over a tie's positions of the precision with the position itself, and of that in front of it.

    Args:
        share: expected positives per position before a positive of the tie.
    """
    place = np.arange(size, dtype=np.float64)
    rank, earlier = before + place, found + place * share
    left = np.divide(earlier, rank, out=np.ones_like(rank), where=rank > 0)
    return float(((earlier + 1) / (rank + 1)).sum()), float(left.sum())


def _large_tie(before: int, size: int, found: int, share: float) -> tuple[float, float]:
    """The same by harmonic numbers: (f + i·s) / (b + i) is s + (f − s·b) / (b + i)."""
    from scipy.special import digamma

    def reciprocals(first: int) -> float:
        """Of `size` numbers from `first` on, their sum."""
        return float(digamma(first + size) - digamma(first))

    right = size * share + (found + 1 - share * (before + 1)) * reciprocals(before + 1)
    left = size * share + (found - share * before) * reciprocals(before) if before else 1 + (size - 1) * share
    return right, left


def expected_positives(groups: TieGroups, k: int) -> float:
    """Expected number of positives among the first k results."""
    inside = np.clip(k - groups.before, 0, groups.size)
    return float((groups.positives * inside / groups.size).sum())


def chance_level(database: int, n_positive: int, rule: str) -> float:
    """AP of a random order: everything in one tie."""
    one = np.ones(1, np.int64)
    return tied_average_precision(TieGroups(0 * one, database * one, 0 * one, min(n_positive, database) * one), n_positive, rule)
