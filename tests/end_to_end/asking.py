"""What a collection answers against what the stages wrote of the same photographs."""

import itertools
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

EQUAL = 1e-5


def query_photographs(project: Project) -> Iterator[Photograph]:
    """The photographs that the benchmark's queries were made of."""
    return (each for each in packed_photographs(project.folder / "data/raw/gallery") if each.role == "query")


def stored_queries(project: Project, *, codes: bool = False) -> dict[str, npt.NDArray[Any]]:
    """What the stages compare the queries by."""
    read, room = (read_code_folder, "codes") if codes else (read_folder, "descriptors")
    return {name: row for ids, rows in read(project.folder / "data" / room / "gallery", "queries-") for name, row in zip(ids, rows, strict=True)}


def answers_as_the_stages_do(project: Project, *, codes: bool = False, tolerance: float = EQUAL) -> Collection:
    """Every query photograph has the stage's row, ranking, scores and boxes; returns the collection.

    Args:
        tolerance: of scores. Of boxes that are as good, and of clusters that are cut as well, rounding chooses one.
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
        scores = {row["image_id"]: row["score"] for row in expected}
        assert {found.image_id for found in reply.results} == set(scores)
        for found in reply.results:
            assert found.score == pytest.approx(scores[found.image_id], abs=tolerance)
        ranked = [scores[found.image_id] for found in reply.results]
        assert all(before > after - 2 * tolerance for before, after in itertools.pairwise(ranked)), "another order of scores that differ"
        boxes = {row["image_id"]: tuple(row[edge] for edge in ("x0", "y0", "x1", "y1")) for row in expected if row["x0"] is not None}
        assert {found.image_id for found in reply.results if found.box} == set(boxes)
        chosen = [found for found in reply.results if abs(found.score - scores[found.image_id]) < EQUAL]
        assert len(chosen) >= 0.8 * len(scores)
        for found in (found for found in chosen if found.box):
            assert found.box == pytest.approx(boxes[found.image_id], abs=1e-6)
    return collection
