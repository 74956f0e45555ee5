"""Which instance a query shows: the best instance of its results, and whether the object is known at all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.contracts.results import Results


@dataclass(frozen=True)
class Answer:
    """Attributes:
    image_id, instance, score: of the first result that shows a known instance.
    runner_up: score of the first result that shows another one; None where none is among the results.
    """

    query_id: str
    image_id: str
    instance: str
    score: float
    runner_up: float | None


def answers_of(query_ids: Sequence[str], results: Results, instances: Mapping[str, str]) -> list[Answer]:
    """The nearest instance of each query; none for a query whose results show no known instance. A query's own image does not count.

    Args:
        instances: of database images, by id.
    """
    found = []
    for query, ids, scores in zip(query_ids, results.image_ids, results.scores, strict=True):
        shown = [
            (image_id, instances[image_id], score) for image_id, score in zip(ids, scores, strict=True) if image_id in instances and image_id != query
        ]
        if shown:
            image_id, instance, score = shown[0]
            runner_up = next((other for _, name, other in shown if name != instance), None)
            found.append(Answer(query, image_id, instance, score, runner_up))
    return found


@dataclass(frozen=True)
class UnknownObjects:
    """The best scores of photographs that show nothing of the database, against which answers are judged.

    Attributes:
        scores: ascending.
        share: of unknown photographs that may be taken for known.
        accepted: the share of these photographs that exceed the threshold of the half that they are not in; None where half of them are too few.
        learned: whether the method learned from them; then other unknown photographs score higher.
    """

    scores: npt.NDArray[np.float64]
    share: float
    accepted: float | None = None
    learned: bool = False

    @classmethod
    def of(cls, answers: Sequence[Answer], share: float, *, learned: bool = False) -> "UnknownObjects":
        """Of the answers to such photographs; every other one, by the query's id, is in the same half."""
        ordered = np.array([answer.score for answer in sorted(answers, key=lambda answer: answer.query_id)], np.float64)
        halves = [cls(np.sort(ordered[first::2]), share).threshold for first in (1, 0)]
        exceeding = [ordered[first::2] > threshold for first, threshold in enumerate(halves) if threshold is not None]
        accepted = float(np.concatenate(exceeding).mean()) if len(exceeding) == 2 else None
        return cls(np.sort(ordered), share, accepted, learned)

    @property
    def enough(self) -> bool:
        """Whether so many photographs can tell that at most `share` of unknown ones are accepted."""
        return len(self.scores) >= needed(self.share)

    @property
    def threshold(self) -> float | None:
        """The score that a known object has to exceed: at most `share` of unknown ones do (the conformal quantile); None from too few."""
        count = len(self.scores)
        return float(self.scores[math.ceil((count + 1) * (1 - self.share)) - 1]) if self.enough else None

    @property
    def too_many_accepted(self) -> bool:
        """Whether more photographs exceed the threshold than chance explains: two standard deviations above `share`."""
        deviation = math.sqrt(self.share * (1 - self.share) / max(len(self.scores), 1))
        return self.accepted is not None and self.accepted > self.share + 2 * deviation

    def p_value(self, score: float) -> float | None:
        """Share of unknown photographs that score as high, the asking one counted in (the conformal p-value of `the object is unknown`);
        None without any."""
        count = len(self.scores)
        return (1 + count - int(np.searchsorted(self.scores, score, side="left"))) / (count + 1) if count else None


def needed(share: float) -> int:
    """Photographs of unknown objects without which nothing can be said about such a share: the smallest p-value of n is 1 / (n + 1)."""
    return math.ceil(1 / share - 1e-9) - 1
