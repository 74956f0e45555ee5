"""Activation clusters with re-ranking through all stages: boxes, distractors without stored maps, what reruns, learned whitening."""

import itertools
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.aggregation.describers.registry import load_describer
from pipeline.contracts.descriptors import read_folder
from pipeline.imaging.params import ResizeParameters
from pipeline.maps.boxes import cut_out
from pipeline.maps.stream import stream_maps
from pipeline.reranking.params import SpatialVerificationParameters
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.tables import read_json, read_table
from pipeline.studies.region_precision import THRESHOLDS, whole_queries
from pipeline.studies.region_precision import main as region_precision
from tasks.figure_studies import study_tables
from tests.end_to_end.asking import answers_as_the_stages_do
from tests.end_to_end.project import METHOD, Project, original_id

pytestmark = pytest.mark.slow

SCALE = 0.2
"""Of the clusters' similarity; at the published 0.05 locations of maps as small as these are hardly connected, and rounding decides the cut."""
AFTER_SEARCH = {"search@gallery", "collection@gallery", "evaluate@gallery", "report"}


@pytest.fixture(scope="module")
def refined(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of clusters, re-ranked by localization, whose distractors are copies of its database images."""
    folder = tmp_path_factory.mktemp("refined")
    project = Project(folder / "project", origin=museum)
    clusters = {"scale": SCALE, "feature_counts": [2, 5], "colour_counts": [3], "regional_dimensions": 16, "whitening": "learned", "shrinkage": 0.5}
    for parameter, value in {
        "resize.query_crop": "activations",
        "aggregate.method": "clusters",
        "aggregate.clusters": project.params["aggregate"]["clusters"] | clusters,
        "search.top_k": 20,
        "region_study": {"gallery": {"dataset": "gallery", "held_out": "gallery", "queries": 3, "pictures": 1}},
        "search.rerank.method": "localization",
        "search.rerank.localization.step": 1,
        "search.rerank.localization.expansion": 2,
    }.items():
        project.change(parameter, value)
    project.make("names", "resize@gallery", "extract@gallery")
    project.mix_in_copies(folder / "copies")
    project.make(*METHOD, "region_precision@gallery", "report")
    project.record()
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


def test_a_photograph_that_asks_is_answered_as_the_stages_do(refined: Project) -> None:
    answers_as_the_stages_do(refined, tolerance=1e-3)


def test_scores_are_those_of_the_boxes_with_the_mean_of_the_query_and_the_best_two(refined: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(refined.folder)
    describer, _ = load_describer(Path("data/models/gallery"), torch.device("cpu"))
    stored = read_folder(Path("data/descriptors/gallery"), "queries-")
    queries = {image_id: row for ids, rows in stored for image_id, row in zip(ids, rows, strict=True)}
    found = ranking(refined, "database")
    images = {image_id for own in found.values() for image_id in own}
    stream = stream_maps(Path("data/features/gallery"), images, torch.device("cpu"), Path("data/images/gallery"))
    maps = {image_id: (batch, index) for ids, batch in stream for index, image_id in enumerate(ids)}
    parts = 0
    for query, own in found.items():
        vectors = []
        for image_id, hit in own.items():
            batch, index = maps[image_id]
            across, down = (side / batch.grids[0].stride for side in batch.image_size)
            cells = round(hit["y0"] * down), round(hit["x0"] * across), ceil(hit["y1"] * down - 1e-3), ceil(hit["x1"] * across - 1e-3)
            parts += (cells[2] - cells[0], cells[3] - cells[1]) != batch.scales[0].shape[2:]
            vectors.append(describer.describe(cut_out(batch, index, cells))[0].numpy())
        table = np.stack(vectors)
        best = np.argsort(-(table @ queries[query]))[:2]
        mean = queries[query] + table[best].sum(axis=0)
        np.testing.assert_allclose([hit["score"] for hit in own.values()], table @ (mean / np.linalg.norm(mean)), atol=1e-3)
    assert parts > 10


def test_regions_are_those_of_whole_photographs_whatever_is_cropped(refined: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    study = read_json(refined.folder / "reports/regions/gallery.json")
    assert study["queries"] == 3
    assert set(study["ways"]) == {"squares", "clusters", "clusters with a spatial term", "clusters of colours"}
    rows = study_tables([({}, "e", {"regions": {"gallery": study}})])["regions"]
    assert {row["regions by"]: row["mean precision"] for row in rows} == {way: f"{own['mean']:.4f}" for way, own in study["ways"].items()}
    for way in study["ways"].values():
        assert len(way["reached"]) == len(THRESHOLDS)
        assert way["reached"][0] == 1
        assert way["reached"] == sorted(way["reached"], reverse=True)
        assert 0 < way["mean"] < 1
    (picture,) = study["pictures"]
    assert np.array(picture["clusters"]).shape == np.array(picture["norms"]).shape == np.array(picture["spatial_clusters"]).shape
    monkeypatch.chdir(refined.folder)
    wholes = list(whole_queries("gallery", ResizeParameters(pixels=256, query_crop="image"), 2))
    assert [whole.pixels.shape for whole in wholes] == [(192, 256, 3)] * 2
    assert all(0 <= whole.box[0] < whole.box[2] <= 256 for whole in wholes)


def test_a_data_set_without_boxes_has_no_regions_to_compare(refined: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(refined.folder)
    before = refined.params
    refined.change("region_study.boxless", {"dataset": "copies", "held_out": "gallery"})
    region_precision(["boxless"])
    refined.write_params(before)
    study = refined.folder / "reports/regions/boxless.json"
    assert read_json(study) == {"queries": 0}
    study.unlink()


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
    assert refined.affected() == set()
    refined.change("search.rerank.method", "spatial_verification")
    assert refined.affected() == AFTER_SEARCH
    refined.make("search@gallery", "evaluate@gallery")
    about = read_json(refined.folder / "reports/provenance/gallery.json")["search"]["rerank"]
    assert set(about) == {"method", "spatial_verification"}
    agree(refined)
    verified = [hit for own in ranking(refined, "with_distractors").values() for hit in own.values() if hit["x0"] is not None]
    assert verified
    assert min(hit["score"] for hit in verified) >= 6
    for own in ranking(refined, "with_distractors").values():
        for image_id, hit in own.items():
            assert int(hit["score"]) == int(own[original_id(image_id)]["score"])


def test_a_collection_verifies_by_its_own_copies_of_learned_weights(refined: Project, tmp_path: Path) -> None:
    """Weights are random and every pair of key points counts, so that what is compared is not nothing."""
    from kornia.feature import DISK, LightGlue

    torch.manual_seed(0)
    matcher = LightGlue(None, **{**LightGlue.features["disk"], "weights": None})  # type: ignore[arg-type]
    files = {}
    for name, module in (("detector", DISK()), ("matcher", matcher)):
        torch.save(module.state_dict(), tmp_path / f"{name}.pth")
        files[name] = {"location": str(tmp_path / f"{name}.pth"), "sha256": file_sha256(tmp_path / f"{name}.pth")}
    learned = {"local_features": "disk", "key_points": 40, "score": 0.0, "inliers": 3, "threshold": 1000.0, "shortlist": 3}
    refined.change("search.rerank.method", "spatial_verification")
    refined.change("search.rerank.spatial_verification", refined.params["search"]["rerank"]["spatial_verification"] | learned | files)
    refined.make("search@gallery", "collection@gallery")
    agree(refined)
    assert any(hit["x0"] is not None for own in ranking(refined, "database").values() for hit in own.values())
    for path in tmp_path.iterdir():
        path.unlink()
    answers_as_the_stages_do(refined, tolerance=1e-3)


def test_augmentation_and_diffusion_go_together(refined: Project) -> None:
    refined.change("search.rerank.spatial_verification", SpatialVerificationParameters().model_dump())
    refined.change("search.augmentation.neighbours", 2)
    refined.change("search.rerank.method", "diffusion")
    assert refined.affected() == AFTER_SEARCH
    refined.make("search@gallery", "evaluate@gallery")
    agree(refined)
