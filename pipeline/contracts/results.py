"""What a search gives: the first results of every query, and exact counts for its labelled images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Results:
    """The first k results of Q queries.

    Attributes:
        image_ids: Q lists, best first; of equal scores the one that stands earlier in the database.
        scores: Q lists, as long.
        size: number of database images.
        boxes: where re-ranking, or the nearest patch, found the query in each: x0, y0, x1, y1 in shares of the image's sides; None for none, and
            where whole images are compared once.
    """

    image_ids: list[list[str]]
    scores: list[list[float]]
    size: int
    boxes: list[list[tuple[float, float, float, float] | None]] | None = None

    def first(self, k: int) -> "Results":
        """The first k of each query."""
        boxes = None if self.boxes is None else [row[:k] for row in self.boxes]
        return Results([row[:k] for row in self.image_ids], [row[:k] for row in self.scores], self.size, boxes)

    def of(self, queries: Sequence[int]) -> "Results":
        """Of some queries, by their places."""
        boxes = None if self.boxes is None else [self.boxes[place] for place in queries]
        return Results([self.image_ids[place] for place in queries], [self.scores[place] for place in queries], self.size, boxes)

    @classmethod
    def joined(cls, parts: Sequence["Results"], size: int) -> Self:
        """One after the other; boxes where all have some."""
        lists = [own for part in parts for own in part.image_ids], [own for part in parts for own in part.scores]
        boxes = [own for part in parts for own in part.boxes or ()]
        return cls(*lists, size, boxes if boxes and len(boxes) == len(lists[0]) else None)


@dataclass(frozen=True)
class Counts:
    """For each (query, labelled image) that is in the database: its score, the images above it, and those equal to it, itself included."""

    pairs: list[tuple[int, str]]
    scores: npt.NDArray[np.float32]
    above: npt.NDArray[np.int64]
    equal: npt.NDArray[np.int64]

    @classmethod
    def none(cls) -> Self:
        """Of queries without labelled images."""
        return cls([], np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64))


def places_of(image_ids: Sequence[Sequence[str]]) -> dict[str, list[tuple[int, int]]]:
    """(list, place in it) by image, of several lists of images."""
    places: dict[str, list[tuple[int, int]]] = {}
    for query, ids in enumerate(image_ids):
        for place, image_id in enumerate(ids):
            places.setdefault(image_id, []).append((query, place))
    return places
