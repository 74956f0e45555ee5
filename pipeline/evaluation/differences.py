"""Is a difference of means more than chance? Paired bootstrap intervals and sign-flip permutation tests over queries."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
EXACT_UP_TO = 14
"""Differences other than zero up to which all sign patterns are tried instead of a sample."""
SIGNIFICANT = 0.05
VALUES_AT_ONCE = 2**22


@dataclass(frozen=True)
class PairedDifference:
    """The mean of paired differences and how sure it is.

    Attributes:
        mean: after minus before.
        low, high: percentile bootstrap interval of the mean (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13).
        p_value: two-sided, of the permutation test that flips the signs of the differences (Fisher's randomisation test).
        queries, gained, lost: pairs, and those that rose and fell.
    """

    mean: float
    low: float
    high: float
    p_value: float
    queries: int
    gained: int
    lost: int

    @property
    def certain(self) -> bool:
        """True where the interval leaves out zero and the test agrees: for few queries the interval alone is too sure."""
        return (self.low > 0 or self.high < 0) and self.p_value < SIGNIFICANT


def paired_difference(
    before: npt.ArrayLike, after: npt.ArrayLike, *, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> PairedDifference:
    """Compare two systems on the same queries.

    Args:
        before, after: (N,) one value per query, in the same order.
        resamples: of the bootstrap, and of the permutation test where there are too many sign patterns to try all.
        confidence: of the interval.

    Raises:
        ValueError: no queries, or two arrays that do not fit.
    """
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"expected two arrays of one value per query, got shapes {first.shape} and {second.shape}")
    differences = second - first
    random = np.random.default_rng(seed)
    means = np.concatenate(list(_resampled_means(differences, resamples, random)))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return PairedDifference(
        mean=float(differences.mean()),
        low=float(low),
        high=float(high),
        p_value=_permutation_p_value(differences[differences != 0], resamples, random),
        queries=len(differences),
        gained=int((differences > 0).sum()),
        lost=int((differences < 0).sum()),
    )


def _resampled_means(differences: Floats, resamples: int, random: np.random.Generator) -> Iterator[Floats]:
    count = len(differences)
    for size in _chunks(resamples, count):
        yield differences[random.integers(0, count, (size, count))].mean(axis=1)


def _permutation_p_value(differences: Floats, resamples: int, random: np.random.Generator) -> float:
    """Share of sign patterns whose sum is as far from zero as the one seen; zeros keep their value whatever their sign."""
    count = len(differences)
    seen = abs(differences.sum()) * (1 - 1e-12)
    if count <= EXACT_UP_TO:
        patterns = 1 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(patterns @ differences) >= seen).mean())
    extreme = 0
    for size in _chunks(resamples, count):
        signs = 1 - 2.0 * random.integers(0, 2, (size, count), dtype=np.int8)
        extreme += int((np.abs(signs @ differences) >= seen).sum())
    return (extreme + 1) / (resamples + 1)


def _chunks(total: int, width: int) -> Iterator[int]:
    """Sizes that add up to `total`, each small enough for `width` values per row."""
    step = max(1, VALUES_AT_ONCE // width)
    for first in range(0, total, step):
        yield min(step, total - first)
