"""Activation clusters with re-ranking through all stages, with real DVC: boxes, distractors without stored maps, what reruns, learned whitening."""

import itertools
from typing import Any

import pytest

from pipeline.contracts.errors import ParameterError
from pipeline.contracts.tables import read_json, read_table
from pipeline.whole import check_parameters
from tests.end_to_end.project import Project, original_id

pytestmark = pytest.mark.slow

AFTER_SEARCH = {"search@gallery", "evaluate@gallery", "report"}


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of clusters, re-ranked by localization, whose distractors are copies of its database images."""
    folder = tmp_path_factory.mktemp("refined")
    project = Project(folder / "project")
    clusters = {"feature_counts": [2, 5], "colour_counts": [3], "regional_dimensions": 16, "whitening": "learned", "shrinkage": 0.5}
    for parameter, value in {
        "datasets.gallery.held_out": 2,
        "resize.query_crop": "activations",
        "aggregate.method": "clusters",
        "aggregate.clusters": project.params["aggregate"]["clusters"] | clusters,
        "search.top_k": 20,
        "search.rerank.method": "localization",
        "search.rerank.localization.step": 1,
        "search.rerank.localization.expansion": 2,
    }.items():
        project.change(parameter, value)
    project.mix_in_copies(folder / "copies")
    project.repro()
    return project


def ranking(project: Project, name: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Rows of a ranking by query and image."""
    rows = read_table(project.folder / f"data/rankings/gallery/ranking-{name}.parquet", "ranking").to_pylist()
    return {query: {row["image_id"]: row for row in own} for query, own in itertools.groupby(rows, lambda row: row["query_id"])}


def agree(project: Project) -> None:
    """The counts of labelled images say where the ranking has them."""
    for name in ("database", "with_distractors"):
        found = ranking(project, name)
        for row in read_table(project.folder / f"data/rankings/gallery/counts-{name}.parquet", "counts").to_pylist():
            hit = found[row["query_id"]][row["image_id"]]
            assert row["above"] <= hit["rank"] < row["above"] + row["equal"]
            assert hit["score"] == pytest.approx(row["score"], abs=1e-5)


def test_every_image_of_the_shortlist_has_a_box(refined: Project) -> None:
    for name, images in (("database", 10), ("with_distractors", 20)):
        for own in ranking(refined, name).values():
            assert len(own) == images
            for hit in own.values():
                assert 0 <= hit["x0"] < hit["x1"] <= 1
                assert 0 <= hit["y0"] < hit["y1"] <= 1
    agree(refined)
    page = (refined.folder / "reports/index.html").read_text(encoding="utf-8")
    assert 'class="box"' in page
    assert "re-ranked by localization" in page


def test_distractors_are_localized_as_if_their_maps_were_stored(refined: Project) -> None:
    for own in ranking(refined, "with_distractors").values():
        copies = {original_id(image_id): hit for image_id, hit in own.items() if image_id != original_id(image_id)}
        assert len(copies) == 10
        for image_id, copy in copies.items():
            assert [copy[corner] for corner in ("x0", "y0", "x1", "y1")] == [own[image_id][corner] for corner in ("x0", "y0", "x1", "y1")]
            assert copy["score"] == pytest.approx(own[image_id]["score"], abs=2e-3)


def test_the_model_says_what_its_whitening_was_learned_from(refined: Project) -> None:
    card = read_json(refined.folder / "data/models/gallery/model.json")
    assert card["models"]["final"]["kind"] == "LearnedWhitening"
    assert card["models"]["final"]["pairs"] == 32
    assert card["models"]["local"]["dim"] == 4


def test_only_the_way_of_reranking_in_use_reruns_the_search(refined: Project) -> None:
    refined.change("search.rerank.diffusion.nearest", 3)
    refined.change("search.rerank.spatial_verification.key_points", 200)
    assert refined.repro() == set()
    refined.change("search.rerank.method", "spatial_verification")
    assert refined.repro() == AFTER_SEARCH
    about = read_json(refined.folder / "reports/provenance/gallery.json")["search"]["rerank"]
    assert set(about) == {"method", "spatial_verification"}
    agree(refined)
    for own in ranking(refined, "with_distractors").values():
        for image_id, hit in own.items():
            assert int(hit["score"]) == int(own[original_id(image_id)]["score"])


def test_augmentation_and_diffusion_go_together(refined: Project) -> None:
    refined.change("search.augmentation.neighbours", 2)
    refined.change("search.rerank.method", "diffusion")
    assert refined.repro() == AFTER_SEARCH
    agree(refined)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("hash.method", "itq", "search.augmentation.neighbours: codes are compared once"),
        ("aggregate.clusters.scale", 0, "aggregate.clusters.scale"),
        ("search.rerank.method", "rerank", "search.rerank.method"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(refined: Project, path: str, value: object, said: str) -> None:
    before = (refined.folder / "params.yaml").read_bytes()
    refined.change(path, value)
    try:
        with pytest.raises(ParameterError, match=said):
            check_parameters(refined.folder / "params.yaml")
    finally:
        (refined.folder / "params.yaml").write_bytes(before)
