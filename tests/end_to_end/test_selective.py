"""Selective features and binary codes through all stages: one pass against maps on disk, what reruns, what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.aggregation.learn import main as learn_stage
from pipeline.contracts.codes import read_code_folder
from pipeline.contracts.descriptors import read_folder
from pipeline.contracts.models import load_model
from pipeline.hashing.__main__ import main as hash_stage
from pipeline.hashing.itq import ITQ
from pipeline.networks.training_sets import training_sets
from pipeline.stage.errors import LeakageError, SanityError
from pipeline.stage.manifest import load_manifest
from pipeline.stage.tables import read_json
from tasks.figure_studies import study_tables
from tests.end_to_end.asking import answers_as_the_stages_do
from tests.end_to_end.project import METHOD, Project, original_id

pytestmark = pytest.mark.slow

SELECTIVE = {"mask": "sift", "local_dimensions": 8, "codebook": 4, "restarts": 2, "truncate": 2, "floor": 3}


@pytest.fixture(scope="module")
def encoded(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose distractors are copies of its own database images, so that both ways describe the same."""
    folder = tmp_path_factory.mktemp("selective")
    project = Project(folder / "project", origin=museum)
    project.change("aggregate.method", "selective")
    for name, value in SELECTIVE.items():
        project.change(f"aggregate.selective.{name}", value)
    project.change("hash.method", "itq")
    project.change("hash.itq.bits", 16)
    project.change("mask_study", {"gallery": {"dataset": "gallery"}})
    project.mix_in_copies(folder / "copies")
    project.make(*METHOD, "masks@gallery", "report")
    project.record()
    return project


def test_distractors_in_one_pass_are_described_and_encoded_as_by_way_of_maps(encoded: Project) -> None:
    data = encoded.folder / "data"
    own = {image_id: row for ids, rows in read_folder(data / "descriptors/gallery", "database-") for image_id, row in zip(ids, rows, strict=True)}
    passed = {
        original_id(image_id): row
        for ids, rows in read_folder(data / "distractors/gallery", "distractors-")
        for image_id, row in zip(ids, rows, strict=True)
    }
    assert own.keys() == passed.keys()
    assert len(own) == 10
    for image_id, row in own.items():
        assert row.shape == (30,)
        np.testing.assert_allclose(passed[image_id], row, atol=1e-4)
    codes = [
        {original_id(image_id): bytes(code) for ids, rows in read_code_folder(folder, prefix) for image_id, code in zip(ids, rows, strict=True)}
        for folder, prefix in ((data / "codes/gallery", "database-"), (data / "codes/gallery", "distractors-"))
    ]
    assert codes[0] == codes[1]
    assert all(len(code) == 2 for code in codes[0].values())


def test_a_photograph_that_asks_is_answered_as_the_stages_do(encoded: Project) -> None:
    answers_as_the_stages_do(encoded, codes=True)


def test_codes_are_those_of_the_saved_model_which_says_what_it_was_learned_on(encoded: Project) -> None:
    folder = encoded.folder / "data/codes/gallery"
    model = ITQ.load(folder)
    _, card = load_model(folder)
    assert card["learned_on"]["dataset"] == "gallery"
    assert card["learned_on"]["role"] == "held_out"
    assert card["learned_on"]["images"] == model.count_ == 64
    import torch

    ids, rows = next(read_folder(encoded.folder / "data/descriptors/gallery", "queries-"))
    expected = dict(zip(ids, model.encode(torch.from_numpy(rows.copy())).numpy().tolist(), strict=True))
    found_ids, found = next(read_code_folder(folder, "queries-"))
    assert dict(zip(found_ids, found.tolist(), strict=True)) == expected


def test_metrics_say_bits_and_count_both_databases(encoded: Project) -> None:
    metrics = json.loads((encoded.folder / "reports/metrics/gallery.json").read_text(encoding="utf-8"))
    assert (metrics["bits"], metrics["dimensions"], metrics["distractors"], metrics["zero_descriptors"]) == (16, 30, 10, 0)
    assert metrics["with_distractors"]["map"] < metrics["database"]["map"]
    page = (encoded.folder / "reports/index.html").read_text(encoding="utf-8")
    assert "16 bits by itq" in page
    assert "Masks of local features, 10 images" in page
    study = read_json(encoded.folder / "reports/masks/gallery.json")
    rows = study_tables([({}, "e", {"masks": {"gallery": study}})])["masks"]
    assert {row["mask"]: row["features kept"] for row in rows} == {mask: f"{own['kept']:.4f}" for mask, own in study["masks"].items()}


def test_other_bits_rerun_the_hash_and_what_follows_only(encoded: Project) -> None:
    encoded.change("hash.kmeans_hashing.bits", 64)
    assert encoded.affected() == set()
    encoded.change("hash.itq.bits", 24)
    assert encoded.affected() == {"hash@gallery", "search@gallery", "collection@gallery", "evaluate@gallery", "report"}
    encoded.change("hash.itq.bits", 16)
    assert encoded.affected() == set()


def hash_parameters(folder: Path, benchmark: str, **sets: Any) -> None:
    content = {"hash": {"method": "itq", "itq": {"bits": 8}}, "benchmarks": {benchmark: {"allow_self_learning": False} | sets}}
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def test_a_hash_function_learned_on_what_it_encodes_is_refused(encoded: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("data/descriptors", "data/distractors"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "gallery").symlink_to(encoded.folder / name / "gallery")
    hash_parameters(tmp_path, "gallery", dataset="gallery", held_out="gallery")
    monkeypatch.chdir(tmp_path)
    link = tmp_path / "data/descriptors/gallery"
    manifest = load_manifest(link, "descriptors")
    names = [part.name for part in manifest.parts]
    link.unlink()
    link.mkdir()
    for name in names:
        (link / name).symlink_to(encoded.folder / "data/descriptors/gallery" / name)
    facts = manifest.facts | {"held_out_set": {"dataset": "gallery", "role": "database", "images": 10, "duplicates": 0}}
    replace(manifest, facts=facts).save(link)
    with pytest.raises(LeakageError, match="learned on the database images of gallery"):
        hash_stage(["gallery"])
    assert not (tmp_path / "data/codes").exists()
    hash_parameters(tmp_path, "gallery", dataset="gallery", held_out="gallery", allow_self_learning=True)
    hash_stage(["gallery"])
    assert (tmp_path / "data/codes/gallery/model.safetensors").exists()


def test_a_descriptor_that_is_not_finite_is_named_and_leaves_nothing(encoded: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pipeline.contracts.descriptors import descriptor_columns, descriptor_writer
    from pipeline.stage.manifest import Manifest, describe_parts

    described = load_manifest(encoded.folder / "data/descriptors/gallery", "descriptors").facts
    described |= {"dimensions": 12, "held_out": 20, "database": 2, "queries": 0}
    described["held_out_set"] = {"dataset": "x", "role": "held_out", "images": 20, "duplicates": 0}
    of_kind: dict[str, dict[str, Any]] = {
        "descriptors": described,
        "distractors": {"distractors": 0, "dataset": "z", "role": "distractor", "storage": "float32", "rounding": 0.0},
    }
    rows = np.random.default_rng(0).standard_normal((20, 12)).astype(np.float32)
    broken = rows[:2].copy()
    broken[1, 3] = np.inf
    for kind, files in (("descriptors", {"held_out-00000.parquet": rows, "database-00000.parquet": broken}), ("distractors", {})):
        folder = tmp_path / "data" / kind / "b"
        folder.mkdir(parents=True)
        for name, vectors in files.items():
            with descriptor_writer(folder / name, 12) as writer:
                writer.write(descriptor_columns([f"i{index}" for index in range(len(vectors))], vectors))
        Manifest(kind, describe_parts(folder, list(files)), of_kind[kind]).save(folder)
    hash_parameters(tmp_path, "b", dataset="y", held_out="x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SanityError, match="descriptor of i1 is not finite"):
        hash_stage(["b"])
    assert not (tmp_path / "data/codes").exists()


def test_learning_warns_of_a_network_that_was_trained_on_what_is_asked_for(
    encoded: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    card = read_json(encoded.folder / "data/networks/efficientnet_lite0/network.json")
    assert (card["weights"]["trained_on"], card["weights"]["from"]) == (["imagenet-1k"], "package")
    _, before = load_model(encoded.folder / "data/models/gallery")
    assert before["network_overlaps"] == []
    project = Project(tmp_path / "project", origin=encoded)
    monkeypatch.chdir(project.folder)
    shown = training_sets()["imagenet-1k"].model_copy(update={"shows": ("gallery",), "told_by": "a paper"})
    monkeypatch.setattr("pipeline.networks.overlaps.training_sets", lambda: {"imagenet-1k": shown})
    learn_stage(["gallery"])
    assert "gallery: the network is trained on imagenet-1k" in caplog.text
    (found,) = load_model(project.folder / "data/models/gallery")[1]["network_overlaps"]
    assert (found["training_set"], found["source"], found["told_by"]) == ("imagenet-1k", "gallery", "a paper")
