"""How well queries are told which instance they show, and unknown objects that they show none."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.contracts.metrics import AnswerScores
from pipeline.stage.catalogue import CatalogueRow, GroundTruth
from pipeline.stage.tables import open_table, table_facts


def shown_by_queries(rows: Sequence[CatalogueRow], truth: GroundTruth) -> dict[str, str]:
    """The instance of every query, by id, where another database image shows it as well."""
    references = Counter(row.instance for row in rows if row.role == "database" and row.readable)
    queries = set(truth.queries)
    own = [row for row in rows if row.image_id in queries and row.instance is not None]
    return {row.image_id: str(row.instance) for row in own if references[row.instance] > (row.role == "database")}


def score_answers(path: Path, shown: Mapping[str, str]) -> AnswerScores | None:
    """Numbers of the answers to queries that show a known instance; None where there are none. A query without an answer is wrong.

    Args:
        path: answers.parquet of the rankings.
        shown: the instance that each such query shows, by id.
    """
    file = open_table(path, "answers")
    facts, rows = table_facts(file), [row for row in file.read().to_pylist() if row["query_id"] in shown]
    if not rows:
        return None
    right = [row["instance"] == shown[row["query_id"]] for row in rows]
    numbers: dict[str, Any] = {"answered": len(rows), "correct": sum(right) / len(shown)}
    if facts["threshold"] is not None:
        accepted = [correct for row, correct in zip(rows, right, strict=True) if row["known"]]
        numbers |= {"threshold": facts["threshold"], "accepted": len(accepted) / len(shown), "unknown_learned_on": facts["unknown"]}
        numbers |= {"correct_of_accepted": sum(accepted) / len(accepted) if accepted else None, "unknown_accepted": facts["accepted"]}
    return AnswerScores(**numbers)
