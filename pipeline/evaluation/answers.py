"""How well queries are told which instance they show, and unknown objects that they show none."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contracts.metrics import AnswerScores
from pipeline.stage.catalogue import CatalogueRow, GroundTruth
from pipeline.stage.tables import open_table, table_facts

BINS = 10


def shown_by_queries(rows: Sequence[CatalogueRow], truth: GroundTruth) -> dict[str, str]:
    """The instance of every query, by id, where another database image shows it as well."""
    references = Counter(row.instance for row in rows if row.role == "database" and row.readable)
    queries = set(truth.queries)
    own = [row for row in rows if row.image_id in queries and row.instance is not None]
    return {row.image_id: str(row.instance) for row in own if references[row.instance] > (row.role == "database")}


def score_answers(path: Path, shown: Mapping[str, str]) -> tuple[AnswerScores | None, list[dict[str, float]]]:
    """Numbers of the answers to queries that show a known instance, and how reliable `sure` is; None where there are none. A query without
    an answer is wrong.

    Args:
        path: answers.parquet of the rankings.
        shown: the instance that each such query shows, by id.
    """
    file = open_table(path, "answers")
    facts, given = table_facts(file), file.read().to_pylist()
    rows = [row for row in given if row["query_id"] in shown]
    if not rows:
        return None, []
    right = [row["instance"] == shown[row["query_id"]] for row in rows]
    numbers: dict[str, Any] = {"answered": len(rows), "correct": sum(right) / len(shown)}
    every = [row["instance"] == shown.get(row["query_id"]) for row in given]
    numbers["micro_ap"] = micro_average_precision([row["score"] for row in given], every, len(shown))
    numbers |= {"unknown_learned_on": facts["unknown"], "unknown_needed": facts["needed"]}
    if facts["threshold"] is not None:
        accepted = [correct for row, correct in zip(rows, right, strict=True) if row["known"]]
        numbers |= {"threshold": facts["threshold"], "accepted": len(accepted) / len(shown)}
        numbers |= {"correct_of_accepted": sum(accepted) / len(accepted) if accepted else None, "unknown_accepted": facts["accepted"]}
    bins = reliability([row["sure"] for row in rows], right) if facts["certainty"] else []
    if bins:
        numbers |= {"certainty_learned_on": facts["certainty"]["questions"], "calibration_error": calibration_error(bins)}
    return AnswerScores(**numbers), bins


def micro_average_precision(scores: Sequence[float], right: Sequence[bool], positives: int) -> float:
    """µAP (Perronnin, Liu and Renders, 2009), which Google Landmarks and the Met call GAP: one order of all answers, by their scores.

    Args:
        right: whether each answer is.
        positives: queries that have a right answer, answered or not.

    Returns:
        The mean over all orders of equal scores.
    """
    values, groups = np.unique(-np.asarray(scores, np.float64), return_inverse=True)
    answers, correct = (np.bincount(groups, weights, minlength=len(values)) for weights in (None, np.asarray(right, np.float64)))
    total, seen, found = 0.0, 0, 0.0
    for count, own in zip(answers.astype(int).tolist(), correct.tolist(), strict=True):
        places = np.arange(1, count + 1)
        before = (places - 1) * ((own - 1) / (count - 1) if count > 1 else 0.0)  # right ones ahead of a right one within the group, expected
        total += float((own / count * (found + 1 + before) / (seen + places)).sum())
        seen, found = seen + count, found + own
    return total / positives


def reliability(sure: Sequence[float], right: Sequence[bool]) -> list[dict[str, float]]:
    """Of each of BINS equally wide bins of `sure` that has answers: its mean, the share of right ones, and their number."""
    places = np.minimum((np.asarray(sure) * BINS).astype(int), BINS - 1)
    found = []
    for place in np.unique(places):
        own = places == place
        means = float(np.asarray(sure)[own].mean()), float(np.asarray(right)[own].mean())
        found.append({"sure": round(means[0], 4), "right": round(means[1], 4), "queries": int(own.sum())})
    return found


def calibration_error(bins: Sequence[Mapping[str, float]]) -> float:
    """Expected calibration error (Naeini, Cooper and Hauskrecht, 2015): the bins' |sure − right|, weighted by their number."""
    return sum(each["queries"] * abs(each["sure"] - each["right"]) for each in bins) / sum(each["queries"] for each in bins)
