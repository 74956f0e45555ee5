"""What a query and a benchmark score by its protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts.protocols import Protocol
from pipeline.evaluation.average_precision import (
    TieGroups,
    chance_level,
    expected_positives,
    expected_precisions,
    tie_groups,
    tied_average_precision,
)
from pipeline.evaluation.cut_off import average_precision_at, found_at
from pipeline.evaluation.overlap import localised_precision
from pipeline.stage.errors import SanityError


@dataclass(frozen=True)
class Label:
    """A labelled image of one query.

    Attributes:
        score, above, equal: None for an image that is not in the database.
        overlap: of the place that the search found with the object; None where the source does not say where that is.
    """

    image_id: str
    relevance: str
    score: float | None = None
    above: int | None = None
    equal: int | None = None
    overlap: float | None = None


@dataclass(frozen=True)
class QueryResult:
    """What one query scored.

    Attributes:
        positives: relevant images, in the database or not.
        average_precision: by rule.
        precision, recall: by number of results.
        map_at, found_at: AP of the first results, and whether one of them is a positive, by number of results.
        localised: LocScore; None where a positive in the database has no known place.
        first: rank of the best positive from 0, ties averaged; None where none is in the database.
        groups: where the positives stand.
    """

    query_id: str
    positives: int
    average_precision: dict[str, float]
    precision: dict[int, float]
    recall: dict[int, float]
    map_at: dict[int, float]
    found_at: dict[int, float]
    localised: float | None
    first: float | None
    groups: TieGroups
    chance: float


@dataclass(frozen=True)
class Ranks:
    """Numbers of first results that each measure looks at."""

    precision: tuple[int, ...] = (1,)
    recall: tuple[int, ...] = ()
    map: tuple[int, ...] = ()
    found: tuple[int, ...] = ()


def score_query(query_id: str, labels: Sequence[Label], protocol: Protocol, database: int, ranks: Ranks = Ranks()) -> QueryResult | None:
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
        {k: expected_positives(groups, k) / min(k, last) for k in ranks.precision},
        {k: expected_positives(groups, k) / n_positive for k in ranks.recall},
        {k: average_precision_at(groups, n_positive, k) for k in ranks.map},
        {k: found_at(groups, k) for k in ranks.found},
        _localised([label for label in present if label.relevance in protocol.positives], groups, n_positive),
        float(groups.before[0] + (groups.size[0] - groups.positives[0]) / (groups.positives[0] + 1)) if len(groups.size) else None,
        groups,
        chance_level(max(database - int((~positive).sum()), 1), n_positive, "trapezoid"),
    )


def _localised(positives: Sequence[Label], groups: TieGroups, n_positive: int) -> float | None:
    """LocScore of positives in the database; None where not all have an overlap, or there are none."""
    overlaps = [label.overlap for label in positives if label.overlap is not None]
    if not positives or len(overlaps) < len(positives):
        return None
    order = np.unique([-np.float32(label.score or 0.0) for label in positives], return_inverse=True)[1]
    return localised_precision(expected_precisions(groups)[order], np.array(overlaps), n_positive)


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
    for name in ("recall", "map_at", "found_at"):
        values: list[dict[int, float]] = [getattr(result, name) for result in results]
        numbers |= {f"{name.removesuffix('_at')}_at_{k}": float(np.mean([own[k] for own in values])) for k in values[0]}
    located = [result.localised for result in results if result.localised is not None]
    if len(located) == len(results):
        numbers["loc_score"] = float(np.mean(located))
    if protocol == "ukbench":
        score = ukbench_score(results)
        numbers |= {"ukbench_score": score, "ukbench_percent": 25 * score}
    return numbers
