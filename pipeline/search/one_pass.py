"""Exact search in one pass over the database: the first k results of every query, and the exact counts of its labelled images.

Scores below a query's k-th best so far and below its lowest labelled image decide nothing, and are dropped as soon as they are computed.
A pass may be made of passes over parts of the database, whoever makes them; `join` puts them together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.results import Counts, Results
from pipeline.search.first_results import FirstResults
from pipeline.search.label_counts import Counting, Labelled, compare_labelled
from pipeline.search.vector_scan import Blocks, Score, as_tensor, count_labelled, dot, top_results

STRETCH = 64
"""Columns that are looked at together on a processor."""


class Pass:
    """A pass, or the pass over a part of a database.

    Args:
        queries: (Q, D) float32, on the device to compute on.
        known: their labelled images.
    """

    def __init__(self, queries: torch.Tensor, known: Labelled, k: int, score: Score) -> None:
        self._queries, self._score = queries, score
        self._first, self._counting = FirstResults(k, len(queries)), Counting(known, len(queries), queries.device)

    @property
    def too_many(self) -> bool:
        """Whether more scores lie near labelled ones than are kept."""
        return self._counting.too_many

    def take(self, ids: Sequence[str], vectors: npt.NDArray[np.float32], place: int) -> None:
        """Compare a block (n, D) whose first row has a place in the database."""
        scores = self._score(self._queries, as_tensor(vectors, self._queries.device))
        self._counting.meet(scores, place, len(ids))
        self._counting.take_dense(scores)
        least = torch.from_numpy(np.minimum(self._first.least_in(scores), self._counting.least)).to(scores)
        kept = _reaching(scores, least)
        found, rows, columns = (each.cpu().numpy() for each in (scores[kept], *kept))
        self._first.take(rows, columns, found, ids)
        self._counting.take(rows, found, len(ids))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What `join` takes, as arrays that can be stored."""
        return self._first.state() | self._counting.state()

    def join(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take what a pass over a later part gave."""
        self._first.join(state)
        self._counting.join(state)

    def ended(self, size: int) -> tuple[Results, Counts | None]:
        """Of a database of `size` images; no counts where a labelled image scored otherwise than half of its margin allows."""
        return self._first.results(size), self._counting.counts()


def search_and_count(
    queries: torch.Tensor, blocks: Blocks, labelled: Sequence[Sequence[str]], k: int, score: Score = dot, labelled_blocks: Blocks | None = None
) -> tuple[Results, Counts]:
    """What `top_results` and `count_labelled` give, to the last bit of each comparison.

    Args:
        queries: (Q, D) float32, on the device to compute on.
        labelled: for each query, the ids of its labelled images.
        labelled_blocks: those blocks at the beginning of the database that hold all labelled images; all where none are given.
    """
    own = Pass(queries, compare_labelled(queries, labelled_blocks or blocks, labelled, score), k, score)
    size = 0
    for ids, vectors in blocks():
        own.take(ids, vectors, size)
        size += len(ids)
        if own.too_many:
            return top_results(queries, blocks, k, score), count_labelled(queries, blocks, labelled, score)
    found, counts = own.ended(size)
    return found, counts if counts is not None else count_labelled(queries, blocks, labelled, score)


def _reaching(scores: torch.Tensor, least: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows, columns) of the scores (Q, n) that reach the least of their row (Q,), row by row; stretches of columns without any are passed over."""
    whole = scores.shape[1] - scores.shape[1] % STRETCH
    if not whole or scores.device.type != "cpu":
        rows, columns = (scores >= least[:, None]).nonzero(as_tuple=True)
        return rows, columns
    stretches = scores[:, :whole].unflatten(1, (-1, STRETCH))
    at_rows, at = (stretches.amax(dim=2) >= least[:, None]).nonzero(as_tuple=True)
    hits, inside = (stretches[at_rows, at] >= least[at_rows, None]).nonzero(as_tuple=True)
    rows, columns = at_rows[hits], at[hits] * STRETCH + inside
    if whole < scores.shape[1]:
        more_rows, more = (scores[:, whole:] >= least[:, None]).nonzero(as_tuple=True)
        rows, columns = torch.cat([rows, more_rows]), torch.cat([columns, more + whole])
        order = rows.argsort(stable=True)
        rows, columns = rows[order], columns[order]
    return rows, columns
