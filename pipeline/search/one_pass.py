"""Exact search in one pass over the database: the first k results of every query, and the exact counts of its labelled images.

Scores below a query's k-th best so far and below its lowest labelled image decide nothing, and are dropped as soon as they are computed.
Labelled images are compared first, from their own rows, which gives each of their scores up to rounding; what lies further from that than
MARGIN is counted at once, and what lies nearer is kept until the pass has met the labelled image itself. So every comparison that decides
is one of two scores of the same pass, and equal scores stay equal.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.results import Counts, Results
from pipeline.search.vector_scan import Blocks, Score, as_tensor, count_labelled, dot, labelled_pairs, top_results

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_Candidates = tuple[Ints, npt.NDArray[np.float32], npt.NDArray[Any]]
"""Query, score and image id of each."""
MARGIN = 2e-6
"""Of rounding, as a share of a query's highest absolute score of a labelled image or of 1."""
MOST_NEAR = 2**24
"""Scores near a labelled one that are kept; with more, images are counted in passes of their own."""
DENSE_SHARE = 0.05
"""Of a block that candidates make up, above which a query is dense."""
STRETCH = 64
"""Columns that are looked at together on a processor."""
MERGED_AT = 2**18
"""Candidates for the first results that wait to be merged."""


def search_and_count(
    queries: torch.Tensor, blocks: Blocks, labelled: Sequence[Sequence[str]], k: int, score: Score = dot, labelled_blocks: Blocks | None = None
) -> tuple[Results, Counts]:
    """What `top_results` and `count_labelled` give, to the last bit of each comparison.

    Args:
        queries: (Q, D) float32, on the device to compute on.
        labelled: for each query, the ids of its labelled images.
        labelled_blocks: those blocks at the beginning of the database that hold all labelled images; all where none are given.
    """
    known = _labelled(queries, labelled_blocks or blocks, labelled, score)
    first, counting = _First(k, len(queries)), _Counting(known, len(queries), queries.device)
    size = 0
    for ids, vectors in blocks():
        scores = score(queries, as_tensor(vectors, queries.device))
        counting.meet(scores, size, len(ids))
        counting.take_dense(scores)
        least = torch.from_numpy(np.minimum(first.least_in(scores), counting.least)).to(scores)
        kept = _reaching(scores, least)
        found, rows, columns = (each.cpu().numpy() for each in (scores[kept], *kept))
        first.take(rows, columns, found, ids)
        counting.take(rows, found, len(ids))
        size += len(ids)
        if counting.too_many:
            return top_results(queries, blocks, k, score), count_labelled(queries, blocks, labelled, score)
    counts = counting.counts()
    return first.results(size), counts if counts is not None else count_labelled(queries, blocks, labelled, score)


@dataclass(frozen=True)
class _Labelled:
    """Labelled pairs in the order of the database: queries, image ids, places in the database, and scores from rows of their own."""

    queries: Ints
    image_ids: list[str]
    places: Ints
    scores: npt.NDArray[np.float32]


def _labelled(queries: torch.Tensor, blocks: Blocks, labelled: Sequence[Sequence[str]], score: Score) -> _Labelled:
    wanted = labelled_pairs(labelled)
    own: list[tuple[int, str, int]] = []
    scores: list[npt.NDArray[np.float32]] = []
    offset = 0
    for ids, vectors in blocks() if wanted else ():
        columns = [column for column, image_id in enumerate(ids) if image_id in wanted]
        if columns:
            block = score(queries, torch.from_numpy(np.ascontiguousarray(vectors[columns])).to(queries.device))
            pairs = [(query, place, column) for place, column in enumerate(columns) for query in wanted[ids[column]]]
            rows, places, _ = (np.array(values, np.int64) for values in zip(*pairs, strict=True))
            scores.append(block[torch.from_numpy(rows), torch.from_numpy(places)].cpu().numpy())
            own += [(query, ids[column], offset + column) for query, _, column in pairs]
        offset += len(ids)
    asked, image_ids, at = zip(*own, strict=True) if own else ((), (), ())
    flat = np.concatenate(scores) if scores else np.empty(0, np.float32)
    return _Labelled(np.array(asked, np.int64), list(image_ids), np.array(at, np.int64), flat)


class _First:
    """The first results so far.

    Attributes:
        least: of each query, the score that a further result has to reach.
    """

    def __init__(self, k: int, queries: int) -> None:
        self.k, self.queries = k, queries
        self.least = self._block_least = np.full(queries, -np.inf)
        nothing: _Candidates = (np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, object))
        self._waiting = [nothing]
        self._count = 0

    def least_in(self, scores: torch.Tensor) -> Floats:
        """Of each query, the score below which nothing of a block (Q, n) is among the first results."""
        if np.isfinite(self.least).all() or scores.shape[1] < self.k:
            self._block_least = self.least
        else:
            self._block_least = np.maximum(self.least, scores.topk(self.k, dim=1).values[:, -1].double().cpu().numpy())
        return self._block_least

    def take(self, rows: Ints, columns: Ints, scores: npt.NDArray[np.float32], ids: Sequence[str]) -> None:
        """Take candidates of the block that `least_in` looked at, query by query."""
        kept = scores >= self._block_least[rows]
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


def _descending(scores: npt.NDArray[np.float32]) -> Ints:
    """Numbers below 2³² that are smaller for higher scores, and equal for equal ones."""
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # adding 0 makes −0 one with 0
    return (2**31 - 1) - np.where(bits >= 0, bits, -(bits & (2**31 - 1)))


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


class _Counting:
    """Counts above and equal to labelled images.

    Queries whose labelled images score so low that many candidates pass them are *dense*: all their scores are counted on the device.

    Attributes:
        least: of each query, the score from which on candidates are counted; infinite for dense ones.
        too_many: whether more scores lie near labelled ones than are kept.
    """

    def __init__(self, known: _Labelled, queries: int, device: torch.device) -> None:
        self._known = known
        largest = np.ones(queries)
        np.maximum.at(largest, known.queries, np.abs(known.scores))
        self._margin = MARGIN * largest
        order = np.lexsort((known.scores, known.queries))
        self._order, self._rows = order, known.queries[order]
        self._low, self._high = ((known.scores[order] + sign * self._margin[self._rows]).astype(np.float32) for sign in (-1.0, 1.0))
        self._starts = np.searchsorted(self._rows, np.arange(queries + 1))
        self.least = np.full(queries, np.inf)
        np.minimum.at(self.least, self._rows, self._low)
        self._span = float(2 * max(np.abs(self._high).max(initial=1.0), np.abs(self._low).max(initial=1.0)) + 1)
        self._passed = np.zeros(len(order) + queries, np.int64)
        self._near: list[tuple[npt.NDArray[np.float32], Ints, Ints]] = []
        self._near_count = 0
        self._met = np.full(len(known.places), np.nan, np.float32)
        self._by_place = np.argsort(known.places, kind="stable")
        self._device = device
        self._dense = np.empty(0, np.int64)
        if device.type == "cuda":
            self._make_dense(np.unique(self._rows))

    @property
    def too_many(self) -> bool:
        return self._near_count > MOST_NEAR

    def meet(self, scores: torch.Tensor, offset: int, count: int) -> None:
        """Note the scores of the labelled images in a block (Q, n) that starts at a place of the database."""
        places = self._known.places[self._by_place]
        chosen = self._by_place[np.searchsorted(places, offset) : np.searchsorted(places, offset + count)]
        if len(chosen):
            rows, columns = self._known.queries[chosen], self._known.places[chosen] - offset
            self._met[chosen] = scores[torch.from_numpy(rows), torch.from_numpy(columns)].cpu().numpy()

    def take(self, rows: Ints, scores: npt.NDArray[np.float32], count: int) -> None:
        """Count candidates of a block of `count` images: each passes the labelled images that lie well below it, and is kept for those that
        lie near."""
        kept = scores >= self.least[rows]
        rows, scores = rows[kept], scores[kept]
        if not len(rows):
            return
        above = self._passes(rows, scores, self._high, "left")
        self._passed += np.bincount(above + rows, minlength=len(self._passed))  # a query has one more place than labelled images
        self._keep_near(rows, scores, above)
        self._make_dense(np.flatnonzero(np.bincount(rows, minlength=len(self.least)) > DENSE_SHARE * count))

    def take_dense(self, scores: torch.Tensor) -> None:
        """Count all scores of a block (Q, n) of the dense queries."""
        if not len(self._dense):
            return
        own = scores[self._dense_rows]
        above = torch.searchsorted(self._high_table, own)
        width = self._high_table.shape[1]
        flat = (above + self._line * (width + 1)).flatten()
        counted = torch.bincount(flat, minlength=len(self._dense) * (width + 1)).reshape(len(self._dense), width + 1).cpu().numpy()
        for row, query in enumerate(self._dense.tolist()):
            start, end = self._starts[query : query + 2]
            self._passed[start + query : end + query + 1] += counted[row, : end - start + 1]
        rows, columns = (own >= self._low_table.gather(1, above)).nonzero(as_tuple=True)
        near, passed = own[rows, columns].cpu().numpy(), above[rows, columns].cpu().numpy()
        queries = self._dense[rows.cpu().numpy()]
        self._keep_near(queries, near, self._starts[queries] + passed)

    def _make_dense(self, queries: Ints) -> None:
        """Count some more queries on the device from the next block on."""
        if not len(queries):
            return
        self._dense = np.union1d(self._dense, queries)
        self.least[queries] = np.inf
        width = int((self._starts[self._dense + 1] - self._starts[self._dense]).max())
        places = self._starts[self._dense][:, None] + np.arange(width)
        inside = places < self._starts[self._dense + 1][:, None]
        places = np.where(inside, places, 0)
        high, low = (np.where(inside, table[places], np.float32(np.inf)) for table in (self._high, self._low))
        self._high_table = torch.from_numpy(np.ascontiguousarray(high)).to(self._device)
        ending = np.full((len(self._dense), 1), np.inf, np.float32)
        self._low_table = torch.from_numpy(np.concatenate([low, ending], axis=1)).to(self._device)
        self._dense_rows = torch.from_numpy(self._dense).to(self._device)
        self._line = torch.arange(len(self._dense), device=self._device)[:, None]

    def _keep_near(self, queries: Ints, scores: npt.NDArray[np.float32], above: Ints) -> None:
        """Keep scores that are not above some entries of the table, by `above` the first of them, and not below them either."""
        up_to = self._passes(queries, scores, self._low, "right")
        near = np.flatnonzero(up_to > above)
        if len(near):
            self._near.append((scores[near], above[near], up_to[near]))
            self._near_count += int((up_to[near] - above[near]).sum())

    def _passes(self, rows: Ints, scores: npt.NDArray[np.float32], table: npt.NDArray[np.float32], side: str) -> Ints:
        """How many entries of the table, of all queries up to a candidate's own, stand before it. Queries lie apart on one line."""
        own, limit = scores.astype(np.float64), self._span / 2
        line = self._rows * self._span + table
        places: Ints = np.searchsorted(line, rows * self._span + np.clip(own, -limit, limit), side=side)  # type: ignore[call-overload]
        return places

    def counts(self) -> Counts | None:
        """What was counted; None where a labelled image scored otherwise than half of the margin allows."""
        known, order = self._known, self._order
        met = self._met[order]
        if not (np.abs(met - known.scores[order]) <= self._margin[self._rows] / 2).all():
            return None
        ends = np.searchsorted(self._rows, self._rows, side="right")
        total = np.concatenate([[0], np.cumsum(self._passed)])
        places = np.arange(len(order))
        above = total[ends + self._rows + 1] - total[places + self._rows + 1]
        equal = np.zeros(len(order), np.int64)
        for scores, first, last in self._near:
            length = last - first
            candidate = np.repeat(np.arange(len(length)), length)
            entry = np.repeat(first, length) + np.arange(len(candidate)) - np.repeat(np.cumsum(length) - length, length)
            np.add.at(above, entry, scores[candidate] > met[entry])
            np.add.at(equal, entry, scores[candidate] == met[entry])
        result_above, result_equal = np.empty_like(above), np.empty_like(equal)
        result_above[order], result_equal[order] = above, equal
        pairs = list(zip(known.queries.tolist(), known.image_ids, strict=True))
        return Counts(pairs, self._met, result_above, result_equal)
