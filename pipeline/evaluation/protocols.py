"""The benchmarks' protocols: which labels are positives, which are junk, and what is reported."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.average_precision import TieGroups, chance_level, expected_positives, tie_groups, tied_average_precision
from pipeline.stage.errors import SanityError


@dataclass(frozen=True)
class Protocol:
    """Labels that count as relevant, and labels that are removed from the ranking; every other image is a negative."""

    positives: frozenset[str]
    junk: frozenset[str]


GOOD = Protocol(frozenset({"good", "ok"}), frozenset({"junk"}))
PROTOCOLS: dict[str, dict[str, Protocol]] = {
    "oxford": {"": GOOD},
    "holidays": {"": GOOD},
    "ukbench": {"": GOOD},
    "instances": {"": GOOD},
    "revisited": {
        "easy": Protocol(frozenset({"easy"}), frozenset({"junk", "hard"})),
        "medium": Protocol(frozenset({"easy", "hard"}), frozenset({"junk"})),
        "hard": Protocol(frozenset({"hard"}), frozenset({"junk", "easy"})),
    },
}
"""By the protocol that a data set's ground truth names: its settings by name, '' where there is one."""


@dataclass(frozen=True)
class Label:
    """A labelled image of one query.

    Attributes:
        score, above, equal: None for an image that is not in the database.
    """

    image_id: str
    relevance: str
    score: float | None = None
    above: int | None = None
    equal: int | None = None


@dataclass(frozen=True)
class QueryResult:
    """What one query scored.

    Attributes:
        positives: relevant images, in the database or not.
        average_precision: by rule.
        precision, recall: by number of results.
        first: rank of the best positive from 0, ties averaged; None where none is in the database.
        groups: where the positives stand.
    """

    query_id: str
    positives: int
    average_precision: dict[str, float]
    precision: dict[int, float]
    recall: dict[int, float]
    first: float | None
    groups: TieGroups
    chance: float


def score_query(
    query_id: str, labels: Sequence[Label], protocol: Protocol, database: int, precision_at: Sequence[int] = (1,), recall_at: Sequence[int] = ()
) -> QueryResult | None:
    """Score one query; None where it has no positive.

    Precision at k divides by min(k, highest rank of a positive), as the revisited benchmarks' code does.
    """
    n_positive = sum(label.relevance in protocol.positives for label in labels)
    if not n_positive:
        return None
    present = [label for label in labels if label.above is not None and (label.relevance in protocol.positives or label.relevance in protocol.junk)]
    positive = np.array([label.relevance in protocol.positives for label in present], bool)
    scores = np.array([label.score for label in present], np.float32)
    above, equal = (np.array([getattr(label, name) for label in present], np.int64) for name in ("above", "equal"))
    groups = tie_groups(scores, above, equal, positive)
    last = int((groups.before + groups.size).max(initial=1))
    return QueryResult(
        query_id,
        n_positive,
        {rule: tied_average_precision(groups, n_positive, rule) for rule in ("trapezoid", "plain")},
        {k: expected_positives(groups, k) / min(k, last) for k in precision_at},
        {k: expected_positives(groups, k) / n_positive for k in recall_at},
        float(groups.before[0] + (groups.size[0] - groups.positives[0]) / (groups.positives[0] + 1)) if len(groups.size) else None,
        groups,
        chance_level(max(database - int((~positive).sum()), 1), n_positive, "trapezoid"),
    )


def precision_at(results: Sequence[QueryResult], k: int) -> float:
    """Mean precision among the first k results."""
    return float(np.mean([result.precision[k] for result in results]))


def ukbench_score(results: Sequence[QueryResult]) -> float:
    """Mean number of a query's four images among its first four results, itself included: 0 to 4 (Nistér and Stewénius, 2006)."""
    return float(np.mean([expected_positives(result.groups, 4) for result in results]))


def evaluate(results: Sequence[QueryResult], protocol: str, rule: str) -> dict[str, float]:
    """The numbers of one setting.

    Raises:
        SanityError: no query has a positive.
    """
    if not results:
        raise SanityError(
            "no query has a positive in its ground truth, so there is nothing to score; name instances of several images, "
            "or remake the collection alone: `retrieval repro collection`"
        )
    numbers = {
        "map": float(np.mean([result.average_precision[rule] for result in results])),
        "map_trapezoid": float(np.mean([result.average_precision["trapezoid"] for result in results])),
        "map_plain": float(np.mean([result.average_precision["plain"] for result in results])),
        "map_at_chance": float(np.mean([result.chance for result in results])),
        "scored_queries": len(results),
    }
    numbers |= {f"precision_at_{k}": precision_at(results, k) for k in results[0].precision}
    numbers |= {f"recall_at_{k}": float(np.mean([result.recall[k] for result in results])) for k in results[0].recall}
    if protocol == "ukbench":
        score = ukbench_score(results)
        numbers |= {"ukbench_score": score, "ukbench_percent": 25 * score}
    return numbers
