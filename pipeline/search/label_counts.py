"""Exact counts of the images that score above, and as high as, the labelled images of each query, block by block of a database.

Labelled images are compared first, from their own rows, which gives each of their scores up to rounding; what lies further from that than
MARGIN is counted at once, and what lies nearer is kept until the pass has met the labelled image itself. So every comparison that decides
is one of two scores of the same pass, and equal scores stay equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.results import Counts
from pipeline.search.vector_scan import Blocks, Score, labelled_pairs

Ints = npt.NDArray[np.int64]
MARGIN = 2e-6
"""Of rounding, as a share of a query's highest absolute score of a labelled image or of 1."""
MOST_NEAR = 2**24
"""Scores near a labelled one that are kept; with more, images are counted in passes of their own."""
DENSE_SHARE = 0.05
"""Of a block that candidates make up, above which a query is dense."""


@dataclass(frozen=True)
class Labelled:
    """Labelled pairs in the order of the database: queries, image ids, places in the database, and scores from rows of their own."""

    queries: Ints
    image_ids: list[str]
    places: Ints
    scores: npt.NDArray[np.float32]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays that can be stored."""
        return {"queries": self.queries, "image_ids": np.array(self.image_ids, np.str_), "places": self.places, "scores": self.scores}

    @classmethod
    def of(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """What `state` gave."""
        return cls(state["queries"], state["image_ids"].tolist(), state["places"], state["scores"])


def compare_labelled(queries: torch.Tensor, blocks: Blocks, labelled: Sequence[Sequence[str]], score: Score) -> Labelled:
    """The labelled images of each query, compared from rows of their own."""
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
    return Labelled(np.array(asked, np.int64), list(image_ids), np.array(at, np.int64), flat)


@dataclass(frozen=True)
class Dense:
    """Queries all of whose scores are counted on the device, and the entries of the table that belong to them.

    Attributes:
        queries: (n,) ascending.
        least: of all queries, the score from which on candidates are counted; infinite for dense ones.
        rows, line: (n,) and (n, 1) on the device: the queries, and their places among the dense ones.
        high, low: (n, w) and (n, w + 1) on the device, by infinity where a query has fewer entries.
    """

    queries: Ints
    least: npt.NDArray[np.float64]
    rows: torch.Tensor
    line: torch.Tensor
    high: torch.Tensor
    low: torch.Tensor


@dataclass(frozen=True)
class Seen:
    """What a block has for the labelled images.

    Attributes:
        least: of each query, the score from which on the candidates of the block are counted.
        met, met_scores: labelled pairs whose image lies in the block, and their scores.
        dense, counted: the dense queries, and (n, w + 1) scores of the block between their entries.
        near: queries, scores, and entries of the table that are passed, of scores that lie near an entry or above it.
    """

    least: npt.NDArray[np.float64]
    met: Ints
    met_scores: npt.NDArray[np.float32]
    dense: Ints
    counted: Ints
    near: tuple[Ints, npt.NDArray[np.float32], Ints]


class Counting:
    """Counts above and equal to labelled images.

    Queries whose labelled images score so low that many candidates pass them are *dense*: all their scores are counted on the device.
    `look` changes nothing, so that several blocks may be looked at at once; `take` has to be called block by block.

    Attributes:
        too_many: whether more scores lie near labelled ones than are kept.
    """

    def __init__(self, known: Labelled, queries: int, device: torch.device) -> None:
        self._known = known
        largest = np.ones(queries)
        np.maximum.at(largest, known.queries, np.abs(known.scores))
        self._margin = MARGIN * largest
        order = np.lexsort((known.scores, known.queries))
        self._order, self._rows = order, known.queries[order]
        self._low, self._high = ((known.scores[order] + sign * self._margin[self._rows]).astype(np.float32) for sign in (-1.0, 1.0))
        self._starts = np.searchsorted(self._rows, np.arange(queries + 1))
        least = np.full(queries, np.inf)
        np.minimum.at(least, self._rows, self._low)
        self._span = float(2 * max(np.abs(self._high).max(initial=1.0), np.abs(self._low).max(initial=1.0)) + 1)
        self._low_line = self._rows * self._span + self._low
        self._high_line = self._rows * self._span + self._high
        self._passed = np.zeros(len(order) + queries, np.int64)
        self._near: list[tuple[npt.NDArray[np.float32], Ints, Ints]] = []
        self._near_count = 0
        self._met = np.full(len(known.places), np.nan, np.float32)
        self._by_place = np.argsort(known.places, kind="stable")
        self._places = known.places[self._by_place]
        self._device = device
        self._dense = self._dense_of(np.unique(self._rows) if device.type == "cuda" else np.empty(0, np.int64), least)

    @property
    def too_many(self) -> bool:
        return self._near_count > MOST_NEAR

    def look(self, scores: torch.Tensor, offset: int, count: int) -> Seen:
        """At the scores (Q, n) of a block that starts at a place of the database."""
        dense = self._dense
        chosen = self._by_place[np.searchsorted(self._places, offset) : np.searchsorted(self._places, offset + count)]
        rows, columns = self._known.queries[chosen], self._known.places[chosen] - offset
        met = scores[torch.from_numpy(rows), torch.from_numpy(columns)].cpu().numpy()
        return Seen(dense.least, chosen, met, dense.queries, *self._look_dense(scores, dense))

    def _look_dense(self, scores: torch.Tensor, dense: Dense) -> tuple[Ints, tuple[Ints, npt.NDArray[np.float32], Ints]]:
        """`counted` and `near` of a block."""
        if not len(dense.queries):
            nothing = np.empty(0, np.int64)
            return nothing, (nothing, np.empty(0, np.float32), nothing)
        own = scores[dense.rows]
        above = torch.searchsorted(dense.high, own)
        width = dense.high.shape[1]
        flat = (above + dense.line * (width + 1)).flatten()
        counted = torch.bincount(flat, minlength=len(dense.queries) * (width + 1)).reshape(len(dense.queries), width + 1).cpu().numpy()
        rows, columns = (own >= dense.low.gather(1, above)).nonzero(as_tuple=True)
        near, passed = own[rows, columns].cpu().numpy(), above[rows, columns].cpu().numpy()
        queries = dense.queries[rows.cpu().numpy()]
        return counted, (queries, near, self._starts[queries] + passed)

    def take(self, seen: Seen, rows: Ints, scores: npt.NDArray[np.float32], count: int) -> None:
        """Count what was seen of a block of `count` images, and its candidates, which reach `seen.least`: each passes the labelled images
        that lie well below it, and is kept for those that lie near."""
        self._met[seen.met] = seen.met_scores
        for query, counted in zip(seen.dense.tolist(), seen.counted, strict=True):
            start, end = self._starts[query : query + 2]
            self._passed[start + query : end + query + 1] += counted[: end - start + 1]
        self._keep_near(*seen.near)
        kept = scores >= seen.least[rows]
        rows, scores = rows[kept], scores[kept]
        if not len(rows):
            return
        above = self._passes(rows, scores, self._high_line, "left")
        self._passed += np.bincount(above + rows, minlength=len(self._passed))  # a query has one more place than labelled images
        self._keep_near(rows, scores, above)
        self._make_dense(np.flatnonzero(np.bincount(rows, minlength=len(seen.least)) > DENSE_SHARE * count))

    def _make_dense(self, queries: Ints) -> None:
        """Count some more queries on the device from the next block on that is looked at."""
        more = np.union1d(self._dense.queries, queries)
        if len(more) > len(self._dense.queries):
            self._dense = self._dense_of(more, self._dense.least)

    def _dense_of(self, queries: Ints, least: npt.NDArray[np.float64]) -> Dense:
        least = least.copy()
        least[queries] = np.inf
        width = int((self._starts[queries + 1] - self._starts[queries]).max(initial=0))
        places = self._starts[queries][:, None] + np.arange(width)
        inside = places < self._starts[queries + 1][:, None]
        places = np.where(inside, places, 0)
        high, low = (np.where(inside, table[places], np.float32(np.inf)) for table in (self._high, self._low))
        low = np.concatenate([low, np.full((len(queries), 1), np.inf, np.float32)], axis=1)
        on_device = [torch.from_numpy(np.ascontiguousarray(values)).to(self._device) for values in (queries, high, low)]
        return Dense(queries, least, on_device[0], torch.arange(len(queries), device=self._device)[:, None], *on_device[1:])

    def _keep_near(self, queries: Ints, scores: npt.NDArray[np.float32], above: Ints) -> None:
        """Keep scores that are not above some entries of the table, by `above` the first of them, and not below them either."""
        up_to = self._passes(queries, scores, self._low_line, "right")
        near = np.flatnonzero(up_to > above)
        if len(near):
            self._near.append((scores[near], above[near], up_to[near]))
            self._near_count += int((up_to[near] - above[near]).sum())

    def _passes(self, rows: Ints, scores: npt.NDArray[np.float32], line: npt.NDArray[np.floating[Any]], side: str) -> Ints:
        """How many entries of the table, of all queries up to a candidate's own, stand before it. Queries lie apart on one line."""
        own, limit = scores.astype(np.float64), self._span / 2
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

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What `join` takes, as arrays that can be stored."""
        nothing = (np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
        scores, first, last = (np.concatenate(own) for own in zip(nothing, *self._near, strict=True))
        return {"passed": self._passed, "met": self._met, "near_scores": scores, "near_first": first, "near_last": last}

    def join(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add what another part of the database gave."""
        self._passed += state["passed"]
        self._met = np.where(np.isnan(state["met"]), self._met, state["met"])
        scores, first, last = (state[name] for name in ("near_scores", "near_first", "near_last"))
        self._near.append((scores, first, last))
        self._near_count += int((last - first).sum())
