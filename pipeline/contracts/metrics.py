"""The numbers of a benchmark in reports/metrics/BENCHMARK.json: written by the stage evaluate, read by report, comparison and commands."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.stage.errors import ShardError
from pipeline.stage.tables import read_json, write_json

DIGITS = 4
"""After the decimal point: more would differ between processors, whose sums round differently."""


class Scores(BaseModel):
    """One database in one setting of its protocol: means over its scored queries.

    Further numbers: precision_at_K, recall_at_K, map_at_K, found_at_K; loc_score, where the source says where database images show their objects;
    for UKBench ukbench_score and ukbench_percent.

    Attributes:
        map: mean average precision by the rule that `evaluate.rule` names; both rules are reported as well.
        map_at_chance: of a random order.
        at_chance_level: 1 where `map` is hardly better.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    map: float
    map_trapezoid: float = 0.0
    map_plain: float = 0.0
    map_at_chance: float = 0.0
    precision_at_1: float = 0.0
    scored_queries: int = 0
    queries_without_positives: int = 0
    at_chance_level: int = 0

    @property
    def numbers(self) -> dict[str, float]:
        """Every number that was written, by its name."""
        return self.model_dump(exclude_unset=True)


class AnswerScores(BaseModel):
    """How well queries are told which instance they show, and unknown objects that they show none.

    Attributes:
        answered: queries that show a known instance and have an answer.
        correct: share of right answers among the queries that show a known instance.
        micro_ap: µAP, or global average precision (GAP): the average precision of all answers in one order by their scores, those to queries
            that show no known instance among them, which are wrong.
        threshold: score above which an object counts as known; None from too few held-out photographs.
        accepted: share of these queries above it.
        unknown_learned_on: photographs of unknown objects that calibrate it.
        unknown_needed: without so many of them nothing is said.
        correct_of_accepted: share of right answers among the accepted; None where none is.
        unknown_accepted: share of these photographs above the threshold that the half without them gives.
        certainty_learned_on: questions that `sure` was learned from; None where it was not.
        calibration_error: expected calibration error of `sure`: the mean distance between it and the share of right answers, in ten bins.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    answered: int
    correct: float
    micro_ap: float | None = None
    threshold: float | None = None
    accepted: float | None = None
    unknown_learned_on: int | None = None
    correct_of_accepted: float | None = None
    unknown_accepted: float | None = None
    unknown_needed: int | None = None
    certainty_learned_on: int | None = None
    calibration_error: float | None = None


@dataclass(frozen=True)
class Setting:
    """One database in one setting of the protocol.

    Attributes:
        name: 'database', 'with_distractors', or with the setting, 'database/easy'.
        size: images of the database.
    """

    name: str
    size: int
    scores: Scores


class Metrics(BaseModel):
    """All numbers of a benchmark; those that an older version did not write have their defaults.

    Attributes:
        database, with_distractors: scores, or scores by setting where the protocol has several; None where there are none.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    database_images: int = 0
    distractors: int = 0
    queries: int = 0
    queries_unreadable: int = 0
    unreadable_images: int = 0
    held_out_duplicates: int = 0
    dimensions: int = 0
    bits: int = 0
    zero_descriptors: int = 0
    database: Scores | dict[str, Scores] | None = None
    with_distractors: Scores | dict[str, Scores] | None = None
    answers: AnswerScores | None = None

    @property
    def settings(self) -> list[Setting]:
        """Every database and setting that has scores, the plain database first."""
        return list(self._settings())

    def _settings(self) -> Iterator[Setting]:
        for name, scores in (("database", self.database), ("with_distractors", self.with_distractors)):
            size = self.database_images + (self.distractors if name == "with_distractors" else 0)
            if isinstance(scores, Scores):
                yield Setting(name, size, scores)
            elif scores:
                yield from (Setting(f"{name}/{setting}", size, own) for setting, own in scores.items())

    def save(self, path: Path) -> None:
        """Write the numbers, rounded to DIGITS."""
        write_json(path, _rounded(self.model_dump(exclude_none=True)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ShardError: missing or damaged.
        """
        return cls.parse(read_json(path), str(path))

    @classmethod
    def parse(cls, content: Any, where: str) -> Self:
        """The metrics of a JSON value; `where` is what the error names.

        Raises:
            ShardError: it holds no metrics.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise ShardError(f"{where}: no metrics ({'.'.join(map(str, first['loc']))}: {first['msg']}); run `dvc repro` again") from None


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return round(value, DIGITS) if isinstance(value, float) and math.isfinite(value) else value
