"""The three steps of training, one after the other: what they change, what they leave, what their networks are."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.aggregation.describers.region_descriptor import RegionDescriptor
from pipeline.aggregation.params import RegionDescriptorParameters
from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.contracts.models import load_tensors
from pipeline.evaluation.average_precision import average_precision
from pipeline.finetuning.params import RegionDescriptorParameters as RegionTraining
from pipeline.finetuning.params import step_from
from pipeline.finetuning.photographs import pack
from pipeline.finetuning.region_description import RegionDescription, principal_projection
from pipeline.finetuning.step import View
from pipeline.finetuning.trainable_network import TrainableNetwork
from pipeline.finetuning.training import Training
from pipeline.finetuning.training_set import TrainingSet
from pipeline.finetuning.validation import plain_average_precision, validate_descriptors
from pipeline.maps.stream import MapBatch
from pipeline.networks.heads import load_heads
from pipeline.networks.region_head import RegionForm, RegionHead
from pipeline.networks.registry import load_from_folder
from pipeline.stage.catalogue import read_catalogue
from pipeline.stage.errors import LeakageError, ModelError
from pipeline.stage.parameters import read_section
from pipeline.stage.tables import read_json
from tests.finetuning.conftest import Workplace

Adopt = Callable[[], None]
CONVOLUTIONAL = {"step": "fully_convolutional", "start": "classified", "sides": [96, 64], "batch": 4, "learning_rate": 0.001}
REGIONS = {
    "step": "region_descriptor",
    "start": "classified",
    "side": 96,
    "dimensions": 8,
    "regions": 2,
    "batch": 6,
    "micro_batch": 3,
    "initial": "random",
}


def curve(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "reports/training" / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def changed(before: Path, after: Path) -> set[str]:
    """Weights of the convolutions that differ, by the first part of their keys."""
    old, new = load_tensors(before / "weights.safetensors"), load_tensors(after / "weights.safetensors")
    assert old.keys() == new.keys()
    return {key.split(".")[0] for key in old if not torch.equal(old[key], new[key])}


def test_classification_trains_what_it_should_and_learns_the_instances(museum: Workplace, classified: Path) -> None:
    assert changed(museum.folder / "data/networks/squeezenet", classified) == {"11", "12"}
    rows = curve(classified.parents[2], "classified")
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(7)]
    assert rows[0]["loss"] == ""
    assert float(rows[-1]["loss"]) < float(rows[1]["loss"]) < 3
    assert 0 <= float(rows[-1]["active"]) <= 1
    assert all(0 < float(row["map"]) <= 1 and 0 < float(row["spread"]) < 1 for row in rows)


def test_validation_instances_are_never_classes(classified: Path) -> None:
    heads = load_heads(classified)
    trained = read_json(classified / "network.json")["trained_on"]
    assert len(trained) == 1
    assert trained[0] | {"last": None} == {
        "dataset": "museum",
        "source": "folder",
        "role": "database",
        "images": 12,
        "instances": list(heads.labels),
        "step": "classification",
        "start": "squeezenet",
        "validation": trained[0]["validation"],
        "epochs": 6,
        "best_epoch": None,
        "last": None,
    }
    assert len(heads.labels) == 4
    assert sorted([*heads.labels, *trained[0]["validation"]]) == [f"piece{number}" for number in range(6)]
    assert heads.classifier is not None
    assert heads.classifier.classes == 4


def test_a_trained_network_is_a_network_like_the_others(classified: Path) -> None:
    network = load_from_folder(classified, ["fire5", "fire9"])
    maps = network.feature_maps(network.preprocess(np.zeros((1, 96, 96, 3), np.uint8)))
    assert maps.shape[:2] == (1, 256 + 512)


@pytest.mark.slow
def test_chain_to_regions(museum: Workplace, adopt: Adopt) -> None:
    adopt()
    museum.train("convolutional", **CONVOLUTIONAL)
    networks = museum.folder / "data/networks"
    assert changed(networks / "classified", networks / "convolutional") == {"11", "12"}
    card = museum.train("regions", **REGIONS | {"start": "convolutional"})
    assert [step["step"] for step in card["trained_on"]] == ["classification", "fully_convolutional", "region_descriptor"]
    rows = curve(museum.folder, "regions")
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert all(0 <= float(row["active"]) <= 1 for row in rows[1:])
    heads = load_heads(networks / "regions")
    assert heads.descriptor is not None
    assert heads.descriptor.form.regions == 2
    described = RegionDescriptor("region_descriptor", RegionDescriptorParameters())
    described.adopt(networks / "regions", NetworkChoice(name="regions"))
    vectors = described.describe(MapBatch([torch.rand(3, 512, 14, 15)]))
    assert vectors.shape == (3, described.dimensions(512)) == (3, 8)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3))
    again = RegionDescriptor("region_descriptor", RegionDescriptorParameters())
    again.restore(*described.state(), torch.device("cpu"))
    maps = torch.rand(1, 512, 14, 15)
    assert torch.equal(again.describe(MapBatch([maps])), described.describe(MapBatch([maps])))


@pytest.mark.parametrize(("kind", "dropout"), [("classification", True), ("fully_convolutional", True), ("region_descriptor", False)])
def test_regions_are_chosen_and_classified_without_dropout(
    museum: Workplace, adopt: Adopt, monkeypatch: pytest.MonkeyPatch, kind: str, dropout: bool
) -> None:
    adopt()
    seen = []
    original = Training._train_batch

    def watched(self: Training, *arguments: Any) -> None:
        assert self.network.classifier is not None
        seen.append(self.network.classifier.training)
        original(self, *arguments)

    monkeypatch.setattr(Training, "_train_batch", watched)
    steps = {"classification": {"step": "classification", "start": "squeezenet", "side": 64}, "fully_convolutional": CONVOLUTIONAL}
    museum.train("watched", **(steps | {"region_descriptor": REGIONS})[kind] | {"epochs": 1})
    assert set(seen) == {dropout}


@pytest.mark.parametrize("counted", ["anchor", "all"])
def test_the_cross_entropy_is_that_of_the_anchor_or_of_all(museum: Workplace, adopt: Adopt, counted: str) -> None:
    """Equation 3.6, photograph by photograph."""
    adopt()
    museum.write(x=REGIONS | {"classified": counted, "classification": 0.7, "margin": 0.2})
    parameters = step_from(read_section("finetune.x"), "finetune.x", "params.yaml")
    assert isinstance(parameters, RegionTraining)
    network = TrainableNetwork.from_folder(museum.folder / "data/networks/classified", torch.device("cpu"), "float32")
    images = museum.folder / "data/images/museum"
    data = TrainingSet.of(read_catalogue(images / "catalogue.parquet"), "database", 0.34, 0, "finetune.x")
    step = RegionDescription(parameters, network, data, pack(images, data.image_ids, museum.folder))
    step.prepare()
    network.test_mode()
    triplets, key = torch.tensor([[0, 1, 4], [2, 2, 7]]), (0, 1, 0)
    views = {view: step.render(view) for view in step.views(triplets, key)}
    expected = 0.0
    for anchor, positive, negative in triplets.tolist():
        looks = View(anchor, 0, key), View(positive, int(anchor == positive), key), View(negative, 0, key)
        maps = [network.maps(views[look][0][None]) for look in looks]
        a, p, n = (step.network.head(own, network.scores(own))[0] for own in maps)  # type: ignore[misc]
        entropies = []
        for look, own in zip(looks, maps, strict=True):
            scores = network.scores(own)[0].flatten(1)
            places = scores.max(dim=0).values.argsort(descending=True)[:2]
            entropies.append(float(-torch.log_softmax(scores, dim=0)[data.labels[look.index], places].mean().detach()))
        expected += max(0.0, float((a @ n - a @ p).detach()) + 0.2)
        expected += 0.7 * (entropies[0] if counted == "anchor" else sum(entropies) / 3) / 2
    assert float(step.loss(triplets, key, views, 2).value.detach()) == pytest.approx(expected, rel=1e-4)


def test_the_first_weights_of_the_head() -> None:
    head = RegionHead(RegionForm(3, 2, "mean"), 64, 40)
    head.draw(3)
    linear = torch.nn.Linear(64, 40)
    assert not head.shift.any()
    for own, framework in ((head.weight, linear.weight), (head.bias, linear.bias)):
        assert own.abs().max() <= 1 / 8
        assert float(own.detach().std()) == pytest.approx(float(framework.detach().std()), rel=0.25)
    again = RegionHead(RegionForm(3, 2, "mean"), 64, 40)
    again.draw(4)
    assert not torch.equal(head.weight, again.weight)
    vectors = torch.randn(300, 16, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 17)
    shift, weight = principal_projection(vectors, 5)
    torch.testing.assert_close(weight @ weight.T, torch.eye(5), atol=1e-4, rtol=0)
    torch.testing.assert_close((vectors + shift).mean(dim=0), torch.zeros(16), atol=1e-3, rtol=0)


@pytest.mark.slow
def test_simplified_architecture_needs_no_classes(museum: Workplace) -> None:
    card = museum.train("siamese", **REGIONS | {"start": "squeezenet", "regions": None, "classification": 0.0, "learning_rate": 1e-4})
    assert card["labels"] == []
    assert not (museum.folder / "data/networks/siamese/classifier.safetensors").exists()
    assert card["descriptor"]["form"]["regions"] is None


@pytest.mark.parametrize("content", ["max", "flattened"])
def test_other_contents_and_mining(museum: Workplace, adopt: Adopt, content: str) -> None:
    adopt()
    mining = {"rule": "easiest_hardest", "positives": 1, "negatives": 2, "kept": 1}
    step = REGIONS | {"content": content, "mining": mining, "initial": "random", "epochs": 1, "classification": 0.5}
    museum.train("regions", **step)
    tensors = load_tensors(museum.folder / "data/networks/regions/descriptor.safetensors")
    assert tensors["weight"].shape == (8, 512 * (169 if content == "flattened" else 1))


@pytest.mark.slow
def test_gradients_of_parts_add_up_to_those_of_the_batch(museum: Workplace, adopt: Adopt) -> None:
    adopt()
    found = []
    for part in (1, 6):
        name = f"parts{part}"
        museum.train(name, **REGIONS | {"micro_batch": part, "epochs": 1, "precision": "float32"})
        found.append(load_tensors(museum.folder / f"data/networks/{name}/descriptor.safetensors"))
    start = torch.nn.functional.cosine_similarity(found[0]["weight"].flatten(), found[1]["weight"].flatten(), dim=0)
    assert float(start) > 0.9999
    assert not torch.equal(found[0]["shift"], torch.zeros_like(found[0]["shift"]))


def test_early_stop_keeps_the_best_epoch(museum: Workplace) -> None:
    step = {"step": "classification", "start": "squeezenet", "side": 64, "batch": 4, "micro_batch": 4, "epochs": 12, "patience": 2}
    card = museum.train("stopped", **step)
    rows = curve(museum.folder, "stopped")
    best = max(range(1, len(rows)), key=lambda index: (float(rows[index]["map"]), -index))
    facts = card["trained_on"][0]
    assert facts["best_epoch"] == best
    assert len(rows) - 1 == facts["epochs"] == min(12, best + 2)
    museum.train("short", **step | {"epochs": best, "patience": 0})
    assert museum.weights("short") == museum.weights("stopped")


def test_frozen_layers_can_be_named(museum: Workplace) -> None:
    step = {"step": "classification", "start": "squeezenet", "side": 64, "batch": 4, "micro_batch": 4, "epochs": 1}
    museum.train("all", **step | {"frozen": "none"})
    networks = museum.folder / "data/networks"
    assert changed(networks / "squeezenet", networks / "all") == {"0", "3", "4", "6", "7", "9", "10", "11", "12"}
    with pytest.raises(ModelError, match=r"finetune.odd.frozen: layer 'fire99' is unknown; there are: none, conv1"):
        museum.train("odd", **step | {"frozen": "fire99"})


def test_validating_on_what_the_start_was_trained_on_is_refused(museum: Workplace, adopt: Adopt) -> None:
    adopt()
    with pytest.raises(LeakageError, match=r"finetune.other: classified was trained on piece\d, which is to be validated on"):
        museum.train("other", **CONVOLUTIONAL | {"validation_seed": 1})


def test_validation_is_plain_average_precision() -> None:
    points = torch.nn.functional.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.tensor([0, 0, 0, 1, 2, 4, 3, 3, 3])
    expected, hits = [], []
    for query in (6, 7, 8):
        order = [index for index in (points @ points[query]).argsort(descending=True).tolist() if index != query]
        positives = {index for index in range(9) if labels[index] == 3 and index != query}
        expected.append(average_precision(order, positives, rule="plain"))
        hits.append(order[0] in positives)
    found = validate_descriptors(points, labels, 6)
    assert found.mean_ap == pytest.approx(np.mean(expected), abs=1e-6)
    assert found.precision_at_1 == pytest.approx(np.mean(hits))
    assert found.spread == pytest.approx(1 - float(points.mean(dim=0).norm()))
    assert np.isnan(validate_descriptors(points, labels, 9).mean_ap)
    relevant = torch.tensor([[True, False, True], [False, True, False]])
    assert plain_average_precision(relevant).tolist() == pytest.approx([(1 + 2 / 3) / 2, 0.5])
