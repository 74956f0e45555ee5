"""LocScore: overlaps of boxes, and precision weighted by them, against plain loops over rankings."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.protocols import PROTOCOLS
from pipeline.contracts.rankings import RANKING_SCHEMA
from pipeline.evaluation.overlap import Overlaps, intersection_over_union
from pipeline.evaluation.protocols import Label, QueryResult, evaluate, score_query
from pipeline.stage.catalogue import Box, CatalogueRow
from pipeline.stage.tables import write_table


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1), 1.0),
        ((0, 0, 1, 1), (0.25, 0.25, 0.75, 0.75), 0.25),
        ((0, 0, 0.5, 0.5), (0.25, 0, 0.75, 0.5), 1 / 3),
        ((0, 0, 0.5, 1), (0.5, 0, 1, 1), 0.0),
        ((0, 0, 0.2, 0.2), (0.8, 0.8, 1, 1), 0.0),
    ],
)
def test_intersection_over_union(one: Box, other: Box, expected: float) -> None:
    assert intersection_over_union(one, other) == pytest.approx(expected)
    assert intersection_over_union(other, one) == pytest.approx(expected)


def test_results_are_held_against_the_places_that_the_source_gives(tmp_path: Path) -> None:
    rows = [("q", 0, "found", 1.0, 0.5, 0.0, 1.0, 1.0), ("q", 1, "whole", 0.9, *(None,) * 4), ("r", 0, "found", 1.0, 0.0, 0.0, 0.5, 1.0)]
    columns = dict(zip(RANKING_SCHEMA.names, zip(*rows, strict=True), strict=True))
    write_table(tmp_path / "ranking.parquet", "ranking", RANKING_SCHEMA, columns)
    half = CatalogueRow("found", "found", "", 100, 40, "database", x0=50.0, y0=0.0, x1=100.0, y1=40.0)
    catalogue = [
        half,
        replace(half, image_id="whole"),
        CatalogueRow("last", "last", "", 100, 40, "database", x0=-10.0, y0=-10.0, x1=25.0, y1=400.0),
        CatalogueRow("unknown", "unknown", "", 100, 40, "database"),
        replace(half, image_id="q", role="query"),
    ]
    asked_for = {("r", "whole"): (25.0, 0.0, 50.0, 40.0), ("r", "unknown"): (0.0, 0.0, 10.0, 40.0)}
    overlaps = Overlaps(tmp_path / "ranking.parquet", catalogue, asked_for)
    names = ("found", "whole", "last", "unknown", "q")
    assert [overlaps.of("q", name) for name in names] == [1.0, 0.5, 0.25, None, None]
    assert overlaps.of("r", "found") == 0.0
    assert overlaps.of("r", "whole") == 0.25, "the object that r asks for, not the one that q asks for"
    assert overlaps.of("r", "unknown") == 0.1


def scored(labels: list[Label], database: int = 10) -> QueryResult:
    result = score_query("q", labels, PROTOCOLS["instances"][""], database)
    assert result is not None
    return result


def plain(ranking: list[str], overlaps: dict[str, float], positives: int) -> float:
    """The definition, along one ranking."""
    total, found = 0.0, 0
    for rank, name in enumerate(ranking, 1):
        if name in overlaps:
            found += 1
            total += found / rank * overlaps[name]
    return total / positives


def test_precision_counts_by_how_well_the_place_is_found() -> None:
    labels = [
        Label("a", "good", 0.9, 0, 1, 0.5),
        Label("j", "junk", 0.8, 1, 1),
        Label("b", "good", 0.7, 3, 1, 0.8),
        Label("lost", "good"),
    ]
    expected = plain(["a", "x", "b"], {"a": 0.5, "b": 0.8}, 3)
    assert expected == pytest.approx((0.5 + 2 / 3 * 0.8) / 3)
    assert scored(labels).localised == pytest.approx(expected)


def test_ties_are_the_mean_over_their_orders() -> None:
    overlaps = {"a": 0.9, "b": 0.1, "c": 0.6}
    labels = [Label("c", "good", 0.9, 0, 1, 0.6), *(Label(name, "good", 0.5, 1, 4, overlaps[name]) for name in "ab")]
    orders = [plain(["c", *order], overlaps, 3) for order in itertools.permutations("abxy")]
    assert scored(labels).localised == pytest.approx(np.mean(orders))


def test_the_score_is_there_where_every_place_is_known() -> None:
    known, unknown = Label("a", "good", 0.9, 0, 1, 0.5), Label("b", "good", 0.8, 1, 1)
    assert evaluate([scored([known]), scored([known])], "instances", "plain")["loc_score"] == pytest.approx(0.5)
    assert scored([known, unknown]).localised is None
    assert "loc_score" not in evaluate([scored([known]), scored([known, unknown])], "instances", "plain")
    assert "loc_score" not in evaluate([scored([Label("lost", "good")])], "instances", "plain")


def test_whole_images_that_show_nothing_else_score_as_average_precision_does() -> None:
    labels = [Label("a", "good", 0.9, 0, 1, 1.0), Label("b", "good", 0.7, 3, 2, 1.0)]
    result = scored(labels)
    assert result.localised == pytest.approx(result.average_precision["plain"])
