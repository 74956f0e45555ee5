"""Exact search in one pass over the database: the first k results of every query, and the exact counts of its labelled images.

Scores below a query's k-th best so far and below its lowest labelled image decide nothing, and are dropped as soon as they are computed.
A pass may be made of passes over parts of the database, whoever makes them; `join` puts them together.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.results import Counts, Results
from pipeline.contracts.running.parallel import in_order
from pipeline.search.first_results import FirstResults
from pipeline.search.label_counts import Counting, Labelled, Seen, compare_labelled
from pipeline.search.vector_scan import Blocks, Score, as_tensor, count_labelled, dot, top_results

Block = tuple[Sequence[str], npt.NDArray[np.float32]]
"""Image ids, and their vectors (n, D)."""
STRETCH = 64
"""Columns that are looked at together on a processor."""


@dataclass(frozen=True)
class SeenBlock:
    """What may decide something of a block of the database.

    Attributes:
        ids: of its images.
        least: of each query, the score below which nothing of the block is among the first results.
        labelled: what it has for the labelled images.
        rows, columns, scores: queries, images and scores of those that reach one of the two.
    """

    ids: Sequence[str]
    least: npt.NDArray[np.float64]
    labelled: Seen
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


class Pass:
    """A pass, or the pass over a part of a database.

    Args:
        queries: (Q, D) float32, on the device to compute on.
        known: their labelled images.
        threads: that compare blocks on a processor, each alone, so that no score depends on their number.
    """

    def __init__(self, queries: torch.Tensor, known: Labelled, k: int, score: Score, threads: int = 1) -> None:
        self._queries, self._score = queries, score
        self._threads = threads if queries.device.type == "cpu" else 1
        self._first, self._counting = FirstResults(k, len(queries)), Counting(known, len(queries), queries.device)

    @property
    def too_many(self) -> bool:
        """Whether more scores lie near labelled ones than are kept."""
        return self._counting.too_many

    def over(self, blocks: Iterable[Block], place: int = 0) -> Iterator[int]:
        """Compare blocks, the first of which starts at a place of the database; the number of images of each."""
        for seen in in_order(self._look, _placed(blocks, place), self._threads):
            self._first.take(seen.rows, seen.columns, seen.scores, seen.ids, seen.least)
            self._counting.take(seen.labelled, seen.rows, seen.scores, len(seen.ids))
            yield len(seen.ids)

    def _look(self, placed: tuple[int, Block]) -> SeenBlock:
        """At a block (n, D); thresholds that are some blocks old let more through, which changes nothing."""
        place, (ids, vectors) = placed
        with torch.inference_mode():
            scores = self._score(self._queries, as_tensor(vectors, self._queries.device))
            labelled = self._counting.look(scores, place, len(ids))
            first = self._first.least_in(scores)
            kept = _reaching(scores, torch.from_numpy(np.minimum(first, labelled.least)).to(scores))
            found, rows, columns = (each.cpu().numpy() for each in (scores[kept], *kept))
        return SeenBlock(ids, first, labelled, rows, columns, found)

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
    own = Pass(queries, compare_labelled(queries, labelled_blocks or blocks, labelled, score), k, score, torch.get_num_threads())
    size = 0
    for images in own.over(blocks()):
        size += images
        if own.too_many:
            return top_results(queries, blocks, k, score), count_labelled(queries, blocks, labelled, score)
    found, counts = own.ended(size)
    return found, counts if counts is not None else count_labelled(queries, blocks, labelled, score)


def _placed(blocks: Iterable[Block], place: int) -> Iterator[tuple[int, Block]]:
    """Blocks with the place of the database that each starts at."""
    for block in blocks:
        yield place, block
        place += len(block[0])


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
