"""What a collection answers against what the stages wrote of the same photographs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.acquisition.packing import packed_photographs
from pipeline.acquisition.sources import Photograph
from pipeline.contracts.codes import read_code_folder
from pipeline.contracts.descriptors import read_folder
from pipeline.search.collection import Collection
from pipeline.stage.tables import read_table
from tests.end_to_end.project import Project


def query_photographs(project: Project) -> Iterator[Photograph]:
    """The photographs that the benchmark's queries were made of."""
    return (each for each in packed_photographs(project.folder / "data/raw/gallery") if each.role == "query")


def stored_queries(project: Project, *, codes: bool = False) -> dict[str, npt.NDArray[Any]]:
    """What the stages compare the queries by."""
    read, room = (read_code_folder, "codes") if codes else (read_folder, "descriptors")
    return {name: row for ids, rows in read(project.folder / "data" / room / "gallery", "queries-") for name, row in zip(ids, rows, strict=True)}


def answers_as_the_stages_do(project: Project, *, codes: bool = False, tolerance: float = 1e-5) -> Collection:
    """Every query photograph has the stage's row, ranking, scores and boxes; returns the collection.

    Args:
        tolerance: of scores. Boxes are described together with those of other queries, so that rounding decides where some clusters are cut.
    """
    collection = Collection.open(project.folder / "data/collection/gallery", "cpu")
    stored = stored_queries(project, codes=codes)
    ranking: dict[str, list[dict[str, Any]]] = {}
    for row in read_table(project.folder / "data/rankings/gallery/ranking-database.parquet", "ranking").to_pylist():
        ranking.setdefault(row["query_id"], []).append(row)
    asked = list(query_photographs(project))
    assert len(asked) == len(stored) > 0
    for photograph in asked:
        expected = ranking[photograph.image_id]
        np.testing.assert_allclose(collection.describe(photograph.data, photograph.box), stored[photograph.image_id], atol=1e-6)
        reply = collection.ask(photograph.data, photograph.box, top=len(expected))
        np.testing.assert_allclose([found.score for found in reply.results], [row["score"] for row in expected], rtol=0, atol=tolerance)
        found_order = [(found.image_id, found.score) for found in reply.results]
        assert same_order(found_order, [(row["image_id"], row["score"]) for row in expected], tolerance)
        for found, row in zip(reply.results, expected, strict=True):
            if found.image_id == row["image_id"]:
                box = None if row["x0"] is None else tuple(row[edge] for edge in ("x0", "y0", "x1", "y1"))
                assert found.box == (None if box is None else pytest.approx(box, abs=1e-6))
    return collection


def same_order(found: list[tuple[str, float]], expected: list[tuple[str, float]], tolerance: float) -> bool:
    """Whether two rankings hold the same images in the same order, but for images whose scores are equal."""
    groups: list[list[set[str]]] = []
    for ranking in (found, expected):
        own: list[set[str]] = []
        last = float("inf")
        for name, score in ranking:
            if abs(score - last) > tolerance:
                own.append(set())
            own[-1].add(name)
            last = score
        groups.append(own)
    return groups[0] == groups[1]
