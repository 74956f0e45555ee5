"""Every query of a benchmark with its result, and every instance with the mean of its queries."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from pipeline.contracts.rankings import ANSWERS
from pipeline.stage import places
from pipeline.stage.catalogue import read_catalogue
from pipeline.stage.tables import read_table


@dataclass(frozen=True)
class QueryRow:
    """A query.

    Attributes:
        instance: what it shows; empty where that is not known.
        ap: average precision.
        first: expected rank of the first relevant image, from 1, not whole where scores are equal; None where no relevant image was found.
        answer: the instance that it was taken for; empty where none was found.
    """

    query_id: str
    instance: str
    ap: float
    first: float | None
    answer: str

    @property
    def right(self) -> str:
        """Whether the answer is right, in a word; empty where nothing can be right."""
        if not self.instance:
            return ""
        return "right" if self.answer == self.instance else "wrong"


@dataclass(frozen=True)
class InstanceRow:
    """An instance that queries show: how many do, their mean average precision, and how many were named rightly."""

    instance: str
    queries: int
    mean_ap: float
    named: int


def query_rows(per_query: list[dict[str, str]], setting: str, instances: Mapping[str, str], answers: Mapping[str, str]) -> list[QueryRow]:
    """The queries of one setting, worst first.

    Args:
        per_query: rows of reports/per_query.
        instances: of the queries, as far as they are known.
        answers: instances that queries were taken for.
    """
    own = [row for row in per_query if row["setting"] == setting]
    rows = [
        QueryRow(
            row["query_id"], instances.get(row["query_id"], ""), float(row["ap"]), _rank(row["first_positive"]), answers.get(row["query_id"], "")
        )
        for row in own
    ]
    return sorted(rows, key=lambda row: (row.ap, row.query_id))


def _rank(text: str) -> float | None:
    return float(text) + 1 if text else None


def instance_rows(queries: list[QueryRow]) -> list[InstanceRow]:
    """The instances of queries, worst first."""
    grouped: dict[str, list[QueryRow]] = defaultdict(list)
    for row in queries:
        if row.instance:
            grouped[row.instance].append(row)
    found = [InstanceRow(name, len(own), fmean(row.ap for row in own), sum(row.right == "right" for row in own)) for name, own in grouped.items()]
    return sorted(found, key=lambda row: (row.mean_ap, row.instance))


def instances_of_queries(dataset: str) -> dict[str, str]:
    """What the queries of a data set show, as far as that is known."""
    rows = read_catalogue(places.images(dataset) / places.CATALOGUE)
    return {row.image_id: row.instance for row in rows if row.instance is not None}


def answers_to_queries(rankings: Path) -> dict[str, str]:
    """The instance that each query was taken for, where one was."""
    return {row["query_id"]: row["instance"] for row in read_table(rankings / ANSWERS, "answers").to_pylist() if row["instance"] is not None}
