"""Precision-recall curves averaged over queries."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.protocols import QueryResult

RECALLS = np.linspace(0, 1, 101)


def mean_curve(results: Sequence[QueryResult]) -> npt.NDArray[np.float64]:
    """Interpolated precision at the recalls 0, 0.01, …, 1, averaged over the queries: (101,)."""
    return np.mean([_curve(result) for result in results], axis=0) if results else np.zeros(len(RECALLS))


def _curve(result: QueryResult) -> npt.NDArray[np.float64]:
    groups = result.groups
    found = groups.found + groups.positives
    precision = found / np.maximum(groups.before + groups.size, 1)
    best_from = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(found / result.positives, RECALLS - 1e-12)
    return np.where(at < len(best_from), best_from[np.minimum(at, len(best_from) - 1)], 0.0) if len(best_from) else np.zeros(len(RECALLS))
