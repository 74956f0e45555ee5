"""What of a benchmark's rankings is worth looking at: best and worst queries, relevant images ranked last, irrelevant ranked first."""

import csv
from dataclasses import dataclass
from pathlib import Path

from pipeline.contracts.tables import read_table

RELEVANT = frozenset({"good", "ok", "easy", "hard"})


@dataclass(frozen=True)
class Hit:
    """A result: its rank from 0, and whether it is relevant, junk or irrelevant."""

    image_id: str
    rank: int
    verdict: str
    score: float


@dataclass(frozen=True)
class ShownQuery:
    """A query with its average precision and first results."""

    query_id: str
    ap: float
    hits: list[Hit]


@dataclass(frozen=True)
class Pair:
    """A query and one image that should rank otherwise."""

    query_id: str
    hit: Hit


@dataclass(frozen=True)
class Retrievals:
    """Everything of one benchmark that the page shows pictures of."""

    best: list[ShownQuery]
    worst: list[ShownQuery]
    relevant_last: list[Pair]
    irrelevant_first: list[Pair]

    @property
    def image_ids(self) -> set[str]:
        """All images to make thumbnails of."""
        shown = {image for query in self.best + self.worst for image in (query.query_id, *(hit.image_id for hit in query.hits))}
        return shown | {image for pair in self.relevant_last + self.irrelevant_first for image in (pair.query_id, pair.hit.image_id)}


def choose(rankings: Path, per_query: list[dict[str, str]], setting: str, best: int, worst: int, results: int) -> Retrievals:
    """Choose by the per-query table and the ranking of one setting ('database', 'with_distractors/hard', …)."""
    name = setting.partition("/")[0]
    counts = read_table(rankings / f"counts-{name}.parquet", "counts").to_pylist()
    labels = {(row["query_id"], row["image_id"]): row["relevance"] for row in counts}
    ranking: dict[str, list[Hit]] = {}
    for row in read_table(rankings / f"ranking-{name}.parquet", "ranking").to_pylist():
        verdict = _verdict(labels.get((row["query_id"], row["image_id"])))
        ranking.setdefault(row["query_id"], []).append(Hit(row["image_id"], row["rank"], verdict, row["score"]))
    scored = sorted((row for row in per_query if row["setting"] == setting), key=lambda row: (-float(row["ap"]), row["query_id"]))
    shown = [ShownQuery(row["query_id"], float(row["ap"]), ranking[row["query_id"]][:results]) for row in scored if row["query_id"] in ranking]
    lowest = shown[max(best, len(shown) - worst) :][::-1]
    asked = {query.query_id for query in shown}
    missed = [
        Pair(row["query_id"], Hit(row["image_id"], row["above"], "relevant", row["score"]))
        for row in counts
        if row["query_id"] in asked and row["relevance"] in RELEVANT
    ]
    wrong = [Pair(query, hit) for query, hits in ranking.items() for hit in hits if query in asked and hit.verdict == "irrelevant"]
    return Retrievals(
        shown[:best],
        lowest,
        sorted(missed, key=lambda pair: (-pair.hit.rank, pair.query_id, pair.hit.image_id))[:results],
        sorted(wrong, key=lambda pair: (-pair.hit.score, pair.query_id, pair.hit.image_id))[:results],
    )


def _verdict(relevance: str | None) -> str:
    if relevance in RELEVANT:
        return "relevant"
    return "junk" if relevance == "junk" else "irrelevant"


def read_per_query(path: Path) -> list[dict[str, str]]:
    """The per-query table that evaluation wrote."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
