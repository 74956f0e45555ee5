"""Instance search by fine-tuning through all stages, with real DVC: a chain of training, a killed one that goes on, what reruns."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pipeline.contracts.descriptors import DescriptorFacts
from pipeline.stage.manifest import load_manifest
from pipeline.stage.tables import read_json, read_table
from pipeline.stage.text_tables import read_rows
from tasks.figure_studies import study_tables
from tests.end_to_end.asking import answers_as_the_stages_do
from tests.end_to_end.project import METHOD, Project

pytestmark = pytest.mark.slow

COMMON = {"dataset": "gallery", "epochs": 1, "validation_share": 0.4, "augmentation": {"rotation": 10.0}}
STEPS = {
    "classified": COMMON | {"step": "classification", "start": "efficientnet_lite0", "side": 96, "batch": 2, "micro_batch": 2, "learning_rate": 1e-3},
    "described": COMMON | {"step": "region_descriptor", "start": "classified", "side": 96, "dimensions": 4, "regions": 2, "learning_rate": 1e-5},
}


@pytest.fixture(scope="module")
def searched(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A gallery searched by the region descriptor of a network that is fine-tuned on its database."""
    project = Project(tmp_path_factory.mktemp("finetuned") / "project", origin=museum)
    for parameter, value in {
        "finetune": STEPS,
        "activation_study": {"gallery": {"dataset": "gallery"}},
        "network.name": "described",
        "aggregate.method": "region_descriptor",
        "aggregate.storage": "float16",
        "benchmarks.gallery.allow_self_learning": True,
        "search.augmentation.instances": "mean",
    }.items():
        project.change(parameter, value)
    project.make("names", "finetune@classified", "finetune@described", "extract@gallery", *METHOD)
    project.make("class_activations@gallery", "report")
    project.record()
    return project


def test_the_benchmark_is_answered_by_the_trained_network(searched: Project) -> None:
    metrics = read_json(searched.folder / "reports/metrics/gallery.json")
    assert metrics["dimensions"] == 4
    answers = metrics["answers"]
    assert answers["answered"] == 5
    assert 0 <= answers["unknown_accepted"] <= 1
    rows = read_table(searched.folder / "data/rankings/gallery/answers.parquet", "answers").to_pylist()

    assert all(row["unknown_p"] is not None and row["known"] is not None for row in rows)
    assert all(row["sure"] is None for row in rows), "the rows of the database are means of instances, none of which can ask without itself"
    assert answers["correct"] == metrics["database"]["precision_at_1"]


def test_a_photograph_that_asks_is_answered_as_the_stages_do(searched: Project) -> None:
    """Of rounded descriptors; images whose rows are means of instances have equal scores."""
    answers_as_the_stages_do(searched)
    facts = DescriptorFacts.of(load_manifest(searched.folder / "data/descriptors/gallery", "descriptors"))
    assert (facts.storage, 0 < facts.rounding < 2**-11) == ("float16", True)


def test_the_report_shows_training_activations_and_what_was_trained_on(searched: Project) -> None:
    page = (searched.folder / "reports/index.html").read_text(encoding="utf-8")
    for text in ("Training of classified", "Training of described", "Class activations of described", "Which instance is this?", "taken for"):
        assert text in page
    assert "fine-tuned on 6 database images of 3 instances of gallery, then on 6 database images" in page
    study = read_json(searched.folder / "reports/activations/gallery.json")
    (row,) = study_tables([({}, "e", {"activations": {"gallery": study}})])["activations"]
    assert (row["classifier of"], row["photographs"]) == ("described", str(len(study["pictures"])))
    trained = read_json(searched.folder / "data/networks/described/network.json")["trained_on"]
    for picture in study["pictures"]:
        assert set(picture["names"].values()) <= set(trained[0]["instances"])


def test_validation_instances_are_not_trained_on(searched: Project) -> None:
    card = read_json(searched.folder / "data/networks/described/network.json")
    for step in card["trained_on"]:
        assert len(step["validation"]) == 2
        assert not set(step["validation"]) & set(step["instances"])
    assert [row["epoch"] for row in read_rows(searched.folder / "reports/training/described.csv")] == ["0", "1"]


def test_the_describer_in_use_and_the_margin_retrain_no_more_than_they_must(searched: Project) -> None:
    before = searched.params
    searched.change("aggregate.method", "spoc")
    searched.change("aggregate.spoc.whitening", "none")
    after = searched.would_run("report")
    assert not {stage for stage in after if stage.startswith(("finetune", "extract"))}
    assert "learn@gallery" in after
    searched.write_params(before)
    searched.change("finetune.described.margin", 0.3)
    assert searched.would_run("finetune@described") == {"names", "finetune@described"}
    searched.write_params(before)


def test_a_network_trained_on_the_database_needs_to_be_allowed(searched: Project) -> None:
    before = searched.params
    searched.change("benchmarks.gallery.allow_self_learning", False)
    process = searched.stage("learn@gallery")
    output, _ = process.communicate()
    searched.write_params(before)
    assert process.returncode != 0
    line = next(line for line in output.splitlines() if line.startswith("error: "))
    assert "the network is fine-tuned on the database images of gallery" in line
    assert "allow_self_learning: true" in line


def test_training_killed_in_an_epoch_goes_on_and_ends_with_the_same_weights(searched: Project) -> None:
    """SIGKILL of everything in the middle of an epoch, as a lost machine would; then the stage again."""
    trained = (searched.folder / "data/networks/classified/weights.safetensors").read_bytes()
    searched.change("finetune.again", STEPS["classified"] | {"epochs": 1})
    process = searched.stage("finetune@again", sys.executable, RETRIEVAL_CHECKPOINT_SECONDS="0")
    store = searched.folder / ".scratch/finetune-again"
    while not list(store.glob("*/checkpoint.safetensors")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.communicate()
    assert not (searched.folder / "data/networks/again").exists()
    output, _ = searched.stage("finetune@again").communicate()
    assert "finetune.again: resumed in epoch 1 after" in output
    assert (searched.folder / "data/networks/again/weights.safetensors").read_bytes() == trained
    assert not Path(store).exists()
