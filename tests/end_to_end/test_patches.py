"""Patches through all stages, what the descriptors hold, what other levels rerun, two steps, distractors, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.asking.exporting import export
from pipeline.contracts.descriptors import DescriptorFacts, read_folder, shards_of
from pipeline.stage.errors import ParameterError
from pipeline.stage.manifest import load_manifest
from pipeline.stage.tables import read_table
from tasks.figure_studies import study_tables
from tests.end_to_end.asking import answers_as_the_stages_do
from tests.end_to_end.project import METHOD, Project, original_id
from tests.patches.reference import plain_distances

pytestmark = pytest.mark.slow

AFTER_SEARCH = {"search@gallery", "collection@gallery", "evaluate@gallery", "report"}
AFTER_LEARN = {f"{stage}@gallery" for stage in ("learn", "aggregate", "aggregate_distractors", "hash", "search", "collection", "evaluate")} | {
    "report"
}


@pytest.fixture(scope="module")
def matched(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of patches whose distractors are copies of its database images."""
    folder = tmp_path_factory.mktemp("patches")
    project = Project(folder / "project", origin=museum)
    for parameter, value in {
        "datasets.gallery.held_out": 1,
        "network.layers": ["block10"],
        "extract.patch_levels": 3,
        "extract.patch_sides": [96],
        "aggregate.method": "patches",
        "aggregate.patches.levels": 2,
        "search.query_levels": 2,
        "aggregate.patches.grid": 2,
        "aggregate.patches.dimensions": 24,
        "search.top_k": 5,
        "patch_study": {"gallery": {"dataset": "gallery", "patches": 3, "side": 64}},
    }.items():
        project.change(parameter, value)
    project.make("names", "download@gallery", "resize@gallery", "extract@gallery")
    project.mix_in_copies(folder / "copies")
    project.make(*METHOD, "patch_similarity@gallery", "report")
    project.record()
    return project


def stored(folder: Path, prefix: str) -> dict[str, np.ndarray]:
    return {image_id: row for ids, rows in read_folder(folder, prefix) for image_id, row in zip(ids, rows, strict=True)}


def test_references_and_queries_have_the_patches_of_their_levels(matched: Project) -> None:
    folder = matched.folder / "data/descriptors/gallery"
    assert {row.shape for row in stored(folder, "database-").values()} == {(5, 24)}
    assert {row.shape for row in stored(folder, "queries-").values()} == {(14, 24)}
    facts = DescriptorFacts.of(load_manifest(folder, "descriptors"))
    assert (facts.patches.database, facts.patches.queries) == (5, 14)
    assert (facts.held_out, facts.dimensions, facts.database) == (0, 24, 10)


def test_a_photograph_that_asks_is_answered_as_the_stages_do(matched: Project) -> None:
    answers_as_the_stages_do(matched)


def test_the_ranking_is_that_of_the_plain_distances(matched: Project) -> None:
    check_ranking(matched)


def check_ranking(matched: Project) -> None:
    folder = matched.folder / "data/descriptors/gallery"
    references, queries = stored(folder, "database-"), stored(folder, "queries-")
    names, asked = list(references), list(queries)
    distances = plain_distances(np.stack([rows[:5] for rows in queries.values()]), np.stack(list(references.values())), "l2")
    ranking = read_table(matched.folder / "data/rankings/gallery/ranking-database.parquet", "ranking").to_pylist()
    for row in range(len(asked)):
        order = np.argsort(distances[row])[:5]
        found = [hit for hit in ranking if hit["query_id"] == asked[row]]
        assert [hit["image_id"] for hit in found] == [names[index] for index in order]
        np.testing.assert_allclose([hit["score"] for hit in found], -distances[row][order], atol=1e-4)
    scores = json.loads((matched.folder / "reports/metrics/gallery.json").read_text(encoding="utf-8"))["database"]
    assert all(hit["x0"] is not None for hit in ranking)
    assert 0 < scores["loc_score"] < scores["map_plain"]


def test_distractors_in_one_pass_are_described_as_by_way_of_shards(matched: Project) -> None:
    own, passed = (
        stored(matched.folder / "data/descriptors/gallery", "database-"),
        stored(matched.folder / "data/distractors/gallery", "distractors-"),
    )
    assert len(own) == len(passed) == 10
    for image_id, row in passed.items():
        np.testing.assert_allclose(row, own[original_id(image_id)], atol=2e-3)  # float16 maps of different batches


def test_other_query_levels_rerun_the_search_alone_and_other_reference_levels_extract_nothing(matched: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", origin=matched)
    ranking = project.folder / "data/rankings/gallery/ranking-database.parquet"
    before = read_table(ranking, "ranking").to_pylist()
    project.change("search.query_levels", 3)
    assert project.affected() == AFTER_SEARCH
    project.make("search@gallery")
    assert read_table(ranking, "ranking").to_pylist() != before
    project.change("aggregate.patches.levels", 3)
    assert project.affected() == AFTER_LEARN


def test_references_as_codes_are_compared_as_what_the_codes_mean(matched: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", origin=matched)
    project.change("aggregate.patches.code_bytes", 6)
    assert project.affected() == AFTER_LEARN
    project.make(*METHOD)
    folders = [project.folder / f"data/{name}/gallery" for name in ("descriptors", "distractors")]
    for folder, prefix in zip(folders, ("database-", "distractors-"), strict=True):
        for path in shards_of(folder, prefix):
            assert read_table(path, "descriptors").schema.field("vector").type.byte_width == 6
    assert DescriptorFacts.of(load_manifest(folders[0], "descriptors")).code_bytes == 6
    exact, rounded = (stored(own.folder / "data/descriptors/gallery", "database-") for own in (matched, project))
    lost = [float(np.linalg.norm(rounded[image_id] - row, axis=1).max()) for image_id, row in exact.items()]
    assert 0 < max(lost) < 1.2
    check_ranking(project)
    held = answers_as_the_stages_do(project).version.folder / "rows.npy"
    assert np.load(held).shape == (10, 5, 6), "a byte for every part of a patch"
    project.change("search.shortlist", 20)
    project.make("search@gallery", "collection@gallery")
    answers_as_the_stages_do(project)
    with pytest.raises(ParameterError, match="a distance that faiss does not have"):
        export(project.folder / "data/collection/gallery", tmp_path / "faiss", "faiss")
    export(project.folder / "data/collection/gallery", tmp_path / "clip", "clip")
    np.testing.assert_array_equal(np.load(tmp_path / "clip/img_emb/img_emb_0.npy"), np.stack(list(rounded.values())))


def test_a_shortlist_reruns_the_search_and_what_follows_and_loses_what_it_leaves_out(matched: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", origin=matched)
    metrics = project.folder / "reports/metrics/gallery.json"
    exact = json.loads(metrics.read_text(encoding="utf-8"))
    project.change("search.shortlist", 20)
    assert project.affected() == AFTER_SEARCH
    project.make("search@gallery", "evaluate@gallery")
    assert json.loads(metrics.read_text(encoding="utf-8"))["database"] == exact["database"], "a shortlist of everything loses nothing"
    project.change("search.shortlist", 5)
    project.make("search@gallery", "evaluate@gallery")
    counts = read_table(project.folder / "data/rankings/gallery/counts-with_distractors.parquet", "counts").to_pylist()
    assert all(row["above"] + row["equal"] <= 5 for row in counts)
    short = json.loads(metrics.read_text(encoding="utf-8"))
    assert short["with_distractors"]["map"] <= exact["with_distractors"]["map"] + 1e-9


def test_the_report_shows_patches(matched: Project) -> None:
    page = (matched.folder / "reports/index.html").read_text(encoding="utf-8")
    assert "multi-resolution and jittering" in page
    assert "Masks of local features" not in page
    assert "Relevant images with the lowest scores" in page
    assert "Matching of patches" in page
    study = json.loads((matched.folder / "reports/patch_similarity/gallery.json").read_text(encoding="utf-8"))
    assert study["squares"] == 3
    assert study["variants"]["neither"]["shift"][0] == pytest.approx(1, abs=1e-3)
    rows = study_tables([({}, "e", {"patch_similarity": {"gallery": study}})])["patch_similarity"]
    assert {row["search"]: row["shift 0"] for row in rows} == {way: f"{own['shift'][0]:.4f}" for way, own in study["variants"].items()}
