"""What re-ranking takes and gives: the best images of each query, and their new scores, which replace the order at the head of the ranking."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.results import Counts, Results, places_of
from pipeline.stage.errors import SanityError

Floats = npt.NDArray[np.float32]
Boxes = npt.NDArray[np.float32]
"""(Q, S, 4): x0, y0, x1, y1 in shares of the image's width and height; NaN where there is none."""
MARGIN = 1e-3


@dataclass(frozen=True)
class Shortlists:
    """The S best images of Q queries.

    Attributes:
        query_ids: Q of them.
        queries: (Q, D), on the device to compute on.
        image_ids: Q lists of S, best first.
        scores: (Q, S), of the first step.
        load_vectors: reads the images' descriptors (Q, S, D).
    """

    query_ids: list[str]
    queries: torch.Tensor
    image_ids: list[list[str]]
    scores: Floats
    load_vectors: Callable[[], torch.Tensor]

    def wanted(self) -> dict[str, list[tuple[int, int]]]:
        """(query, place in its shortlist) by image."""
        return places_of(self.image_ids)


@dataclass(frozen=True)
class Rescored:
    """New scores (Q, S) of shortlists, higher is better.

    Attributes:
        boxes: where the query was found, where the method says so.
        vectors: (Q, S, D) descriptors of the boxes, where there are some.
    """

    scores: Floats
    boxes: Boxes | None = None
    vectors: torch.Tensor | None = None


class Reranker(ABC):
    """A way of re-ranking."""

    @abstractmethod
    def rescore(self, shortlists: Shortlists) -> Rescored:
        """New scores of the images of every shortlist."""


def merge(first: Results, counts: Counts, shortlist: int, rescored: Rescored, k: int) -> tuple[Results, Counts]:
    """The ranking with re-ranked heads: the first k results, and counts that agree with it.

    Images outside the shortlist stand behind all of it, in the order of the first step; their scores are lowered where they would say otherwise.

    Args:
        first: of the first step, at least as long as the shortlist.
        counts: of the first step.

    Raises:
        SanityError: a new score is not finite.
    """
    if not np.isfinite(rescored.scores).all():
        raise SanityError("a re-ranked score is not finite; look at the descriptors, and at search.rerank")
    image_ids, scores, boxes = [], [], []
    new: list[dict[str, np.float32]] = []
    lowered: list[float] = []
    for query, (ids, old) in enumerate(zip(first.image_ids, first.scores, strict=True)):
        head, own = ids[:shortlist], rescored.scores[query, : len(ids[:shortlist])]
        order = np.argsort(-own, kind="stable")
        lowered.append(max(0.0, old[len(head) - 1] - float(own.min()) + MARGIN) if head else 0.0)
        image_ids.append([*(head[place] for place in order), *ids[len(head) :]][:k])
        scores.append([*own[order].tolist(), *(score - lowered[-1] for score in old[len(head) :])][:k])
        empty = [None] * (len(ids) - len(head))
        found = [None] * len(head) if rescored.boxes is None else [_box(rescored.boxes[query, place]) for place in order]
        boxes.append([*found, *empty][:k])
        new.append(dict(zip(head, own, strict=True)))
    return Results(image_ids, scores, first.size, boxes), _recount(first, counts, shortlist, rescored, new, lowered)


def _recount(first: Results, counts: Counts, shortlist: int, rescored: Rescored, new: list[dict[str, np.float32]], lowered: list[float]) -> Counts:
    scores, above, equal = counts.scores.copy(), counts.above.copy(), counts.equal.copy()
    for index, (query, image_id) in enumerate(counts.pairs):
        own = new[query].get(image_id)
        if own is not None:
            inside = rescored.scores[query, : len(new[query])]
            scores[index], above[index], equal[index] = own, (inside > own).sum(), (inside == own).sum()
        else:
            head = np.array(first.scores[query][:shortlist], np.float32)
            above[index] += len(head) - (head > scores[index]).sum()
            equal[index] -= (head == scores[index]).sum()
            scores[index] -= lowered[query]
    return replace(counts, scores=scores, above=above, equal=equal)


def _box(values: Floats) -> tuple[float, float, float, float] | None:
    if np.isnan(values).any():
        return None
    x0, y0, x1, y1 = values.tolist()
    return (x0, y0, x1, y1)
