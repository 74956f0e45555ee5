"""How sure an answer is of its instance: a probability learned from questions whose answers are known, of the score and its lead.

It is learned from the benchmark's queries, or by letting the database's own photographs ask, each without itself. The probability is that of
the instance being right, given that the object is in the database; whether it is in there at all is another statement
(answers.UnknownObjects).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.search.answers import Answer

FEWEST = 20
"""Questions that say anything."""


@dataclass(frozen=True)
class Certainty:
    """A logistic regression on the score and on its lead over the next other instance, both standardised.

    Attributes:
        questions, right: that it was learned from.
        centre, scale, weights: of score and lead; no weights where all questions had the same outcome.
        widest: the lead that is taken where no other instance is among the results.
    """

    questions: int
    right: int
    centre: tuple[float, float]
    scale: tuple[float, float]
    weights: tuple[float, float]
    bias: float
    widest: float

    @classmethod
    def learn(cls, answers: Sequence[Answer], shown: Mapping[str, str]) -> "Certainty | None":
        """None from fewer than FEWEST questions.

        Args:
            shown: the instance that each query shows, by its id.
        """
        right = np.array([answer.instance == shown[answer.query_id] for answer in answers], bool)
        if len(right) < FEWEST:
            return None
        leads = [answer.score - answer.runner_up for answer in answers if answer.runner_up is not None]
        widest = float(max(leads, default=0.0))
        features = np.stack([_features(answer, widest) for answer in answers])
        centre, scale = features.mean(axis=0), features.std(axis=0)
        scale[scale == 0] = 1.0
        count, correct = len(right), int(right.sum())
        if correct in (0, count):
            share = (correct + 1) / (count + 2)
            return cls(count, correct, _pair(centre), _pair(scale), (0.0, 0.0), float(np.log(share / (1 - share))), widest)
        from sklearn.linear_model import LogisticRegression

        fitted = LogisticRegression().fit((features - centre) / scale, right)
        return cls(count, correct, _pair(centre), _pair(scale), _pair(fitted.coef_[0]), float(fitted.intercept_[0]), widest)

    def sure(self, answer: Answer) -> float:
        """Probability that the instance is right; never nearer to 0 or 1 than so many questions can tell."""
        features = (_features(answer, self.widest) - self.centre) / self.scale
        value = 1 / (1 + np.exp(-(float(features @ self.weights) + self.bias)))
        return float(np.clip(value, 1 / (self.questions + 2), (self.questions + 1) / (self.questions + 2)))

    @property
    def facts(self) -> dict[str, Any]:
        return asdict(self)


def _features(answer: Answer, widest: float) -> npt.NDArray[np.float64]:
    return np.array([answer.score, widest if answer.runner_up is None else answer.score - answer.runner_up], np.float64)


def _pair(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    return float(values[0]), float(values[1])
