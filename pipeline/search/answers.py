"""Which instance a query shows: the best instance of its results, how sure that is, and whether it is known at all."""

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
        scores: of those that the threshold is learned on, ascending.
        checked: of as many others.
        share: of unknown photographs that may be taken for known.
    """

    scores: npt.NDArray[np.float64]
    checked: npt.NDArray[np.float64]
    share: float

    @classmethod
    def of(cls, answers: Sequence[Answer], share: float) -> "UnknownObjects":
        """Every other answer, by the query's id, is learned on, and the rest is kept to check it."""
        ordered = np.array([answer.score for answer in sorted(answers, key=lambda answer: answer.query_id)], np.float64)
        return cls(np.sort(ordered[::2]), ordered[1::2], share)

    @property
    def threshold(self) -> float | None:
        """The score that a known object has to exceed: at most `share` of unknown ones do, as far as that many photographs can tell
        (the conformal quantile); None without any."""
        count = len(self.scores)
        if not count:
            return None
        return float(self.scores[min(math.ceil((count + 1) * (1 - self.share)), count) - 1])

    @property
    def accepted(self) -> float | None:
        """Share of the checked ones that exceed the threshold; None without any."""
        threshold = self.threshold
        return None if threshold is None or not len(self.checked) else float((self.checked > threshold).mean())

    def confidence(self, score: float) -> float | None:
        """1 − the conformal p-value of `the object is unknown`: near 1 where no unknown photograph scores as high; None without any."""
        count = len(self.scores)
        if not count:
            return None
        not_below = count - int(np.searchsorted(self.scores, score, side="left"))
        return 1 - (1 + not_below) / (count + 1)
