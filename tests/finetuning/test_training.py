"""Interrupted and failing training: the same weights after a kill, collapse, foreign checkpoints, data that cannot be trained on."""

import logging
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml

from pipeline.acquisition.__main__ import main as download
from pipeline.contracts.running.settings import settings
from pipeline.finetuning.__main__ import main as finetune
from pipeline.finetuning.params import RegionDescriptorParameters, step_from
from pipeline.finetuning.training import Training
from pipeline.imaging.__main__ import main as prepare
from pipeline.stage.errors import ModelError, ParameterError, SanityError
from pipeline.whole import check_parameters
from tests.conftest import PROJECT
from tests.finetuning.conftest import LEARNING_RATE, Workplace

Adopt = Callable[[], None]
STEPS: dict[str, dict[str, Any]] = {
    "classification": {"step": "classification", "start": "squeezenet", "side": 64, "batch": 4, "micro_batch": 2, "patience": 2, "epochs": 3},
    "fully_convolutional": {"step": "fully_convolutional", "start": "classified", "sides": [72, 64], "batch": 4, "schedule": "cosine"},
    "region_descriptor": {
        "step": "region_descriptor",
        "start": "classified",
        "side": 96,
        "dimensions": 8,
        "batch": 6,
        "micro_batch": 3,
        "initial": "random",
    },
}


def interrupt_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Let training die after so many batches."""
    original, seen = Training._train_batch, [0]

    def dying(self: Training, *arguments: Any) -> None:
        if seen[0] == batches:
            raise KeyboardInterrupt
        seen[0] += 1
        original(self, *arguments)

    monkeypatch.setattr(Training, "_train_batch", dying)


@pytest.mark.slow
@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("batches", [2, 5])
def test_interrupted_training_ends_with_the_same_weights(
    museum: Workplace, adopt: Adopt, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str, batches: int
) -> None:
    adopt()
    museum.train("straight", **STEPS[kind])
    monkeypatch.setenv("RETRIEVAL_CHECKPOINT_SECONDS", "0")
    settings.cache_clear()
    with monkeypatch.context() as patched:
        interrupt_after(patched, batches)
        with pytest.raises(KeyboardInterrupt):
            museum.train("broken", **STEPS[kind])
    assert not (museum.folder / "data/networks/broken").exists()
    with caplog.at_level(logging.INFO):
        museum.train("broken", **STEPS[kind])
    assert "resumed in epoch" in caplog.text
    for file in ("weights", "classifier", *(["descriptor"] if kind == "region_descriptor" else [])):
        assert museum.weights("broken", file) == museum.weights("straight", file)
    reports = museum.folder / "reports/training"
    assert (reports / "broken.csv").read_text() == (reports / "straight.csv").read_text()
    assert not (museum.folder / ".scratch/finetune-broken").exists()


def test_the_learning_rate_falls_in_steps() -> None:
    section = {"step": "classification", "start": "n", "dataset": "d"}
    training = Training.__new__(Training)
    training.parameters = step_from(section, "finetune.x", "params.yaml")
    assert [training._learning_rate(epochs) for epochs in (0.0, 29.9, 30.0, 49.5)] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3])
    training.parameters = step_from(section | {"decay": 0.5, "decay_epochs": 2, "learning_rate": 1.0}, "finetune.x", "params.yaml")
    assert [training._learning_rate(epochs) for epochs in (0.0, 1.5, 2.0, 4.0, 7.9)] == [1.0, 1.0, 0.5, 0.25, 0.125]


def test_defaults_are_the_published_settings() -> None:
    """Paper 4, §3.1.1 and §3.4, and its published code; k is 4 in the text and 6 in the code."""
    where = {"start": "n", "dataset": "d"}
    classification, convolutional, region = (
        step_from(where | {"step": step}, "finetune.x", "params.yaml") for step in ("classification", "fully_convolutional", "region_descriptor")
    )
    for step, rate in ((classification, 1e-2), (convolutional, 1e-3)):
        assert (step.learning_rate, step.weight_decay, step.momentum, step.batch) == (rate, 5e-4, 0.9, 64)
        assert (step.epochs, step.schedule, step.decay, step.decay_epochs) == (50, "step", 0.1, 30)
        assert step.augmentation.model_dump() == {"rotation": 180.0, "scale": 0.25, "shift": 0.0, "flip": 0.5, "fill": "noise"}
    assert (region.learning_rate, region.weight_decay, region.batch, region.augmentation.rotation) == (1e-4, 0.0, 64, 45.0)
    changed = step_from(where | {"step": "region_descriptor", "augmentation": {"shift": 0.1}}, "finetune.x", "params.yaml")
    assert (changed.augmentation.rotation, changed.augmentation.shift) == (45.0, 0.1)
    assert isinstance(region, RegionDescriptorParameters)
    assert (region.regions, region.initial, region.margin, region.classification, region.classified) == (6, "random", 0.1, 1.0, "anchor")


@pytest.mark.parametrize("kind", STEPS)
def test_collapse_is_seen_and_stopped(museum: Workplace, adopt: Adopt, kind: str) -> None:
    adopt()
    with pytest.raises(SanityError, match=r"finetune.wild: training collapsed in epoch \d: .*; lower finetune.wild.learning_rate \(now 0.1\)"):
        museum.train("wild", **STEPS[kind] | {"learning_rate": 100 * LEARNING_RATE, "epochs": 8})
    assert not (museum.folder / "data/networks/wild").exists()


def test_checkpoint_of_another_network_is_refused(museum: Workplace, adopt: Adopt, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt()
    monkeypatch.setenv("RETRIEVAL_CHECKPOINT_SECONDS", "0")
    settings.cache_clear()
    stores = {}
    for name, kind in (("first", "classification"), ("second", "region_descriptor")):
        with monkeypatch.context() as patched:
            interrupt_after(patched, 2)
            with pytest.raises(KeyboardInterrupt):
                museum.train(name, **STEPS[kind])
        stores[name] = next((museum.folder / f".scratch/finetune-{name}").glob("*/checkpoint.safetensors"))
    shutil.copy(stores["second"], stores["first"])
    with pytest.raises(ModelError, match=r"checkpoint.safetensors: not a checkpoint of this squeezenet1_1: descriptor\.\w+ differs; remove it"):
        museum.train("first", **STEPS["classification"])
    stores["first"].write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"checkpoint.safetensors: not a checkpoint \(.*\); remove it"):
        museum.train("first", **STEPS["classification"])


def test_regions_need_a_classifier_of_the_same_instances(museum: Workplace, adopt: Adopt) -> None:
    adopt()
    with pytest.raises(ModelError, match=r"finetune.early: squeezenet does not classify the 4 instances of museum"):
        museum.train("early", **STEPS["region_descriptor"] | {"start": "squeezenet"})
    with pytest.raises(ModelError, match=r"dimensions: 400 components are wanted, but 12 regions"):
        museum.train("wide", **STEPS["region_descriptor"] | {"dimensions": 400, "regions": 1, "initial": "pca"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classification", "region_descriptor"])
def test_one_photograph_and_unreadable_ones(
    museum: Workplace, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Instance 0 keeps one photograph, all of instance 1 are damaged; a batch is larger than all there is."""
    source = museum.folder / "repaired"
    shutil.copytree(museum.folder / "photographs", source)
    for number in (1, 2):
        (source / f"database/piece0/{number}.png").unlink()
    for path in (source / "database/piece1").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    base = yaml.safe_load((museum.folder / "base.yaml").read_text())
    base["datasets"]["museum"]["path"] = str(source)
    base["resize"]["tolerate"] = 100
    (museum.folder / "base.yaml").write_text(yaml.safe_dump(base))
    museum.write()
    download(["museum"])
    prepare(["museum"])
    step = STEPS[kind] | {"start": "squeezenet", "batch": 64, "micro_batch": 8}
    if kind == "region_descriptor":
        step |= {"regions": None, "classification": 0.0, "learning_rate": 1e-4}
    with caplog.at_level(logging.INFO):
        card = museum.train("few", **step)
    trained = card["trained_on"][0]
    assert "all photographs of 1 instances are unreadable, which are left out: piece1" in caplog.text
    assert "1 instances have a single photograph" in caplog.text
    assert "piece1" not in trained["instances"] + trained["validation"]
    assert "piece0" in trained["instances"], "a single photograph cannot be validated on"


def test_too_few_instances_are_refused(museum: Workplace) -> None:
    with pytest.raises(ModelError, match=r"finetune.all: 1 instances of role database are left to train on; at least two are needed"):
        museum.train("all", **STEPS["classification"] | {"validation_share": 0.9})
    with pytest.raises(ModelError, match=r"finetune.none: 0 instances of role held_out are left to train on"):
        museum.train("none", **STEPS["classification"] | {"role": "held_out"})


def test_no_validation_leaves_its_columns_empty(museum: Workplace) -> None:
    museum.train("blind", **STEPS["classification"] | {"validation_share": 0.0, "patience": 0, "epochs": 1})
    rows = (museum.folder / "reports/training/blind.csv").read_text().splitlines()
    assert rows[0] == "epoch,loss,active,map,p_at_1,spread"
    assert rows[2].split(",")[3:5] == ["", ""]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margin": -1.0}, r"finetune.x.margin: .*greater than or equal to 0"),
        ({"step": "training"}, r"finetune.x.step: unknown step 'training'; allowed: classification, fully_convolutional, region_descriptor"),
        ({"sides": [64]}, r"finetune.x.sides: unknown parameter; allowed: augmentation, batch"),
        ({"micro_batch": 100}, r"finetune.x: .*micro_batch 100 is more than the batch of 6"),
        ({"patience": 3, "validation_share": 0.0}, r"patience needs validation instances"),
        ({"initial": "pca_whitening"}, r"finetune.x.initial: .*'random' or 'pca'"),
        ({"augmentation": {"turn": 3}}, r"finetune.x.augmentation.turn: unknown parameter"),
    ],
)
def test_impossible_parameters_are_refused_by_path(museum: Workplace, change: dict[str, Any], message: str) -> None:
    museum.write(x=STEPS["region_descriptor"] | change)
    with pytest.raises(ParameterError, match=message):
        finetune(["x"])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"gallery_net": {"start": "nowhere"}}, r"finetune.gallery_net.start: 'nowhere' is not under `networks` or `finetune`; there are: efficient"),
        ({"efficientnet_lite0": {}}, r"finetune.efficientnet_lite0: there is a network of that name"),
        ({"a": {"start": "b"}, "b": {"start": "a"}}, r"finetune.a.start: a from b from a; start from a network"),
        ({"a": {"dataset": "elsewhere"}}, r"finetune.a.dataset: 'elsewhere' is not under `datasets`"),
    ],
)
def test_names_are_checked_before_any_work(workplace: Any, steps: dict[str, dict[str, Any]], message: str) -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    common = {"step": "classification", "start": "efficientnet_lite0", "dataset": "gallery"}
    params["finetune"] = {name: common | step for name, step in steps.items()}
    file = workplace / "params.yaml"
    file.write_text(yaml.safe_dump(params))
    with pytest.raises(ParameterError, match=message):
        check_parameters(file)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_on_an_accelerator(museum: Workplace, adopt: Adopt, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    adopt()
    monkeypatch.setenv("RETRIEVAL_DEVICE", "cuda")
    settings.cache_clear()
    for kind, step in STEPS.items():
        card = museum.train(f"{kind}_mixed", **step | {"precision": precision})
        assert card["trained_on"][-1]["last"]["loss"] > 0
