"""What of a benchmark's rankings is worth looking at: best and worst queries, relevant images ranked last, irrelevant ranked first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.protocols import GOOD, PROTOCOLS, Protocol
from pipeline.contracts.rankings import ANSWERS, IRRELEVANT
from pipeline.stage.tables import read_table


@dataclass(frozen=True)
class Hit:
    """A result: its rank from 0, and whether it is relevant, junk or irrelevant.

    Attributes:
        box: where re-ranking found the query: left, top, width and height in per cent of the image; None where it did not look.
    """

    image_id: str
    rank: int
    verdict: str
    score: float
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class ShownQuery:
    """A query with its average precision and first results.

    Attributes:
        answer: the instance that it was taken for, and how sure that is; empty where nothing known is among the results.
    """

    query_id: str
    ap: float
    hits: list[Hit]
    answer: str = ""


@dataclass(frozen=True)
class Retrievals:
    """Everything of one benchmark that the page shows pictures of.

    Attributes:
        relevant_last: queries with their relevant images of the lowest score, lowest first (paper 1, fig. 6).
        irrelevant_first: queries with their irrelevant images of the highest score (fig. 7).
        only_relevant: queries that found no irrelevant image.
        every: all queries with their first results, best first.
        setting: whose average precision and labels these are.
    """

    best: list[ShownQuery]
    worst: list[ShownQuery]
    relevant_last: list[ShownQuery]
    irrelevant_first: list[ShownQuery]
    only_relevant: int = 0
    every: Sequence[ShownQuery] = ()
    setting: str = ""

    @property
    def image_ids(self) -> set[str]:
        """All images to make thumbnails of."""
        queries = self.best + self.worst + self.relevant_last + self.irrelevant_first
        return {image for query in queries for image in (query.query_id, *(hit.image_id for hit in query.hits))}


def first_hits(rankings: Path, setting: str, results: int, queries: Collection[str] | None = None) -> dict[str, list[Hit]]:
    """The first results of queries in one setting ('database', 'with_distractors/hard', …), by query.

    Args:
        rankings: data/rankings/BENCHMARK.
        queries: all where None.
    """
    table, counts = _tables(rankings, setting.partition("/")[0])
    if queries is not None:
        own = pa.array(sorted(queries), pa.string())
        table, counts = (each.filter(pc.is_in(each["query_id"], own)) for each in (table, counts))
    return _first_hits(table, counts, results, _protocol(setting))


def _tables(rankings: Path, name: str) -> tuple[pa.Table, pa.Table]:
    """The ranking of a database, and the counts of its labelled images."""
    ranking, counts = (read_table(rankings / f"{kind}-{name}.parquet", kind) for kind in ("ranking", "counts"))
    return ranking, counts


def _protocol(setting: str) -> Protocol:
    """Which labels are relevant in a setting, and which are removed from its rankings."""
    name = setting.partition("/")[2]
    return PROTOCOLS["revisited"][name] if name else GOOD


def _first_hits(table: pa.Table, counts: pa.Table, results: int, protocol: Protocol) -> dict[str, list[Hit]]:
    labels = {(row["query_id"], row["image_id"]): row["relevance"] for row in counts.select(["query_id", "image_id", "relevance"]).to_pylist()}
    found: dict[str, list[Hit]] = {}
    for row in table.filter(pc.less(table["rank"], results)).to_pylist():
        verdict = _verdict(labels.get((row["query_id"], row["image_id"])), protocol)
        found.setdefault(row["query_id"], []).append(Hit(row["image_id"], row["rank"], verdict, row["score"], _box(row)))
    return found


def choose(rankings: Path, per_query: list[dict[str, str]], setting: str, best: int, worst: int, results: int) -> Retrievals:
    """Choose by the per-query table and the ranking of one setting ('database', 'with_distractors/hard', …)."""
    name, protocol = setting.partition("/")[0], _protocol(setting)
    table, counts = _tables(rankings, name)
    ranking = _first_hits(table, counts, results, protocol)
    unlabelled: dict[str, list[Hit]] = {}
    for row in read_table(rankings / f"irrelevant-{name}.parquet", "ranking").to_pylist():
        unlabelled.setdefault(row["query_id"], []).append(Hit(row["image_id"], row["rank"], "irrelevant", row["score"], _box(row)))
    boxes = {(row["query_id"], row["image_id"]): _box(row) for row in table.filter(pc.is_valid(table["x0"])).to_pylist()}
    scored = sorted((row for row in per_query if row["setting"] == setting), key=lambda row: (-float(row["ap"]), row["query_id"]))
    answers = {row["query_id"]: _told(row) for row in read_table(rankings / ANSWERS, "answers").to_pylist()}
    shown = [
        ShownQuery(row["query_id"], float(row["ap"]), ranking[row["query_id"]], answers.get(row["query_id"], ""))
        for row in scored
        if row["query_id"] in ranking
    ]
    lowest = shown[max(best, len(shown) - worst) :][::-1]
    relevant: dict[str, list[Hit]] = {}
    for row in counts.to_pylist():
        if row["relevance"] in protocol.positives:
            found = boxes.get((row["query_id"], row["image_id"]))
            relevant.setdefault(row["query_id"], []).append(Hit(row["image_id"], row["above"], "relevant", row["score"], found))
    missed, wrong = [], []
    for query in shown:
        last = sorted(relevant.get(query.query_id, []), key=lambda hit: (-hit.rank, hit.image_id))[:IRRELEVANT]
        first = unlabelled.get(query.query_id, [])
        missed += [replace(query, hits=last)] if last else []
        wrong += [replace(query, hits=first)] if first else []
    missed.sort(key=lambda query: (-query.hits[0].rank, query.query_id))
    wrong.sort(key=lambda query: (-query.hits[0].score, query.query_id))
    return Retrievals(shown[:best], lowest, missed[:worst], wrong[:worst], len(shown) - len(wrong), shown, setting)


def _told(answer: dict[str, Any]) -> str:
    """Two statements: whether the object is known at all, and, if so, how sure the instance is."""
    known = {True: "known", False: "perhaps unknown", None: ""}[answer["known"]]
    sure = "" if answer["sure"] is None else f"sure of it {answer['sure']:.0%}"
    return "; ".join(part for part in (str(answer["instance"]), known, sure) if part)


def _box(row: dict[str, Any]) -> tuple[float, float, float, float] | None:
    if row["x0"] is None:
        return None
    left, top, right, bottom = (100 * row[corner] for corner in ("x0", "y0", "x1", "y1"))
    return left, top, right - left, bottom - top


def _verdict(relevance: str | None, protocol: Protocol) -> str:
    if relevance in protocol.positives:
        return "relevant"
    return "junk" if relevance in protocol.junk else "irrelevant"
