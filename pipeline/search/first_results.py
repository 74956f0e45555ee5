"""The first k results of queries, block by block of a database: candidates are gathered, and merged when there are many."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.results import Results

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_Candidates = tuple[Ints, npt.NDArray[np.float32], npt.NDArray[Any]]
"""Query, score and image id of each."""
MERGED_AT = 2**18
"""Candidates that wait to be merged."""


class FirstResults:
    """The first results so far.

    Attributes:
        least: of each query, the score that a further result has to reach.
    """

    def __init__(self, k: int, queries: int) -> None:
        self.k, self.queries = k, queries
        self.least = np.full(queries, -np.inf)
        nothing: _Candidates = (np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, object))
        self._waiting = [nothing]
        self._count = 0

    def least_in(self, scores: torch.Tensor) -> Floats:
        """Of each query, the score below which nothing of a block (Q, n) is among the first results."""
        least = self.least
        if np.isfinite(least).all() or scores.shape[1] < self.k:
            return least
        lowest: Floats = scores.topk(self.k, dim=1).values[:, -1].double().cpu().numpy()
        reached: Floats = np.maximum(least, lowest)
        return reached

    def take(self, rows: Ints, columns: Ints, scores: npt.NDArray[np.float32], ids: Sequence[str], least: Floats) -> None:
        """Take candidates of a block, query by query.

        Args:
            least: what `least_in` gave for it.
        """
        kept = scores >= np.maximum(least, self.least)[rows]
        rows, columns, scores = rows[kept], columns[kept], scores[kept]
        self._waiting.append((rows, scores, np.array(ids, object)[columns]))
        self._count += len(rows)
        if self._count >= MERGED_AT or not np.isfinite(self.least).all():
            self._merge()

    def _merge(self) -> None:
        """Keep the k best of each query; what came first stands first among equal scores."""
        rows, scores, names = (np.concatenate(values) for values in zip(*self._waiting, strict=True))
        order = np.argsort((rows << 32) + _descending(scores), kind="stable")
        rows = rows[order]
        kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < self.k
        order, rows = order[kept], rows[kept]
        self._waiting, self._count = [(rows, scores[order], names[order])], 0
        full = np.flatnonzero(np.bincount(rows, minlength=self.queries) >= self.k)
        self.least = self.least.copy()
        self.least[full] = scores[order][np.searchsorted(rows, full, side="right") - 1]

    def results(self, size: int) -> Results:
        """Of a database of `size` images."""
        self._merge()
        rows, scores, names = self._waiting[0]
        spans = list(itertools.pairwise(np.searchsorted(rows, np.arange(self.queries + 1)).tolist()))
        ids, values = names.tolist(), scores.tolist()
        return Results([ids[start:end] for start, end in spans], [values[start:end] for start, end in spans], size)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What `join` takes, as arrays that can be stored."""
        self._merge()
        rows, scores, names = self._waiting[0]
        return {"first_queries": rows, "first_scores": scores, "first_ids": np.array(names.tolist(), np.str_)}

    def join(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the results of a later part of the database."""
        self._waiting.append((state["first_queries"], state["first_scores"], state["first_ids"].astype(object)))
        self._merge()


def _descending(scores: npt.NDArray[np.float32]) -> Ints:
    """Numbers below 2³² that are smaller for higher scores, and equal for equal ones."""
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # adding 0 makes −0 one with 0
    return (2**31 - 1) - np.where(bits >= 0, bits, -(bits & (2**31 - 1)))
