"""Describers of a network's own heads, and of SIFT, against the published networks and plain counts."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F

from pipeline.aggregation.describers.bag_of_words import BagOfWords
from pipeline.aggregation.describers.class_scores import ClassScores
from pipeline.aggregation.describers.region_descriptor import RegionDescriptor
from pipeline.aggregation.describers.regional_max import RegionalMax
from pipeline.aggregation.params import BagOfWordsParameters, ClassScoresParameters, RegionDescriptorParameters, RmacParameters
from pipeline.aggregation.regions import rmac_regions
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.feature_shards import FeatureFacts
from pipeline.contracts.images.cells import Grid, Part
from pipeline.contracts.images.image_shards import ImageFacts
from pipeline.contracts.models import load_tensors, save_tensors
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapBatch
from pipeline.networks.__main__ import main as network
from pipeline.networks.classifier import published
from pipeline.networks.region_projection import RegionProjection
from pipeline.networks.registry import ARCHITECTURES, own_keys
from pipeline.stage.errors import ModelError
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.tables import read_json, write_json
from pipeline.studies.class_activations import activation_maps, usable_heads
from tests.pictures import pixels

CHOICE = NetworkChoice(name="net")
WORDS = 12


def network_folder(folder: Path, **card: Any) -> Any:
    """data/networks/net of a random SqueezeNet of seven classes; returns torchvision's network."""
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    whole = squeezenet1_1(weights=None, num_classes=7).eval()
    torch.nn.init.normal_(whole.classifier[1].weight, std=0.1)
    save_tensors(folder / "weights.safetensors", own_keys("squeezenet1_1", whole.state_dict()))
    save_tensors(folder / "classifier.safetensors", published(ARCHITECTURES["squeezenet1_1"].classifier, whole.state_dict()))
    write_json(folder / "network.json", {"architecture": "squeezenet1_1", "preprocessing": "torchvision", "default_layer": "fire9"} | card)
    return whole


def test_class_scores_are_those_of_the_published_network(tmp_path: Path) -> None:
    whole = network_folder(tmp_path)
    describer = ClassScores("class_scores", ClassScoresParameters())
    describer.adopt(tmp_path, CHOICE)
    images = torch.randn(3, 3, 224, 224)
    with torch.inference_mode():
        found = describer.describe(MapBatch([whole.features(images)]))
        assert torch.allclose(found, F.normalize(whole(images), dim=1), atol=1e-5)
    assert found.shape == (3, describer.dimensions(512)) == (3, 7)
    assert not describer.parameters.learns


@pytest.mark.parametrize("window", ["highest", "mean"])
def test_class_scores_of_a_larger_image_are_those_of_the_window_that_is_surest(tmp_path: Path, window: Any) -> None:
    whole = network_folder(tmp_path)
    describer = ClassScores("class_scores", ClassScoresParameters(window=window))
    describer.adopt(tmp_path, CHOICE)
    with torch.inference_mode():
        maps = whole.features(torch.randn(2, 3, 288, 256))
        found = describer.describe(MapBatch([maps]))
        for index, own in enumerate(maps):
            windows = [own[:, y : y + 13, x : x + 13] for y in range(own.shape[1] - 12) for x in range(own.shape[2] - 12)]
            scores = [whole.classifier(part[None]).flatten() for part in windows]
            surest = max(scores, key=lambda each: float(each.max()))
            expected = surest if window == "highest" else torch.stack(scores).mean(dim=0)
            torch.testing.assert_close(found[index], F.normalize(expected, dim=0), atol=1e-5, rtol=1e-4)
            assert len(windows) > 4


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "last"), [("fc6", 3), ("fc7", 6)])
def test_fully_connected_layers_are_those_of_the_published_network(tmp_path: Path, layer: str, last: int) -> None:
    from torchvision.models import alexnet

    torch.manual_seed(0)
    whole = alexnet(weights=None, num_classes=5).eval()
    save_tensors(tmp_path / "weights.safetensors", own_keys("alexnet", whole.state_dict()))
    save_tensors(tmp_path / "classifier.safetensors", published(ARCHITECTURES["alexnet"].classifier, whole.state_dict()))
    write_json(tmp_path / "network.json", {"architecture": "alexnet", "preprocessing": "torchvision", "default_layer": "pool5"})
    describer = ClassScores("class_scores", ClassScoresParameters(layer=layer))
    describer.adopt(tmp_path, CHOICE)
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        maps = whole.features(images)
        expected = whole.classifier[:last](whole.avgpool(maps).flatten(1))
        found = describer.describe(MapBatch([maps]))
    torch.testing.assert_close(found, F.normalize(expected, dim=1), atol=1e-5, rtol=1e-4)
    assert found.shape[1] == describer.dimensions(256) == 4096
    with pytest.raises(ModelError, match=r"aggregate.class_scores.layer: alexnet has no 'fc8'; there are: scores, fc6, fc7"):
        ClassScores("class_scores", ClassScoresParameters(layer="fc8")).adopt(tmp_path, CHOICE)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            CHOICE.model_copy(update={"layers": ("fire5",)}),
            r"network.layers: aggregate.class_scores reads maps of the network's last layer; set it to \[fire9\]",
        ),
        (CHOICE.model_copy(update={"pooled": True}), r"and network.pooled to false"),
    ],
)
def test_maps_of_other_layers_are_refused(tmp_path: Path, choice: NetworkChoice, message: str) -> None:
    network_folder(tmp_path)
    with pytest.raises(ModelError, match=message):
        ClassScores("class_scores", ClassScoresParameters()).adopt(tmp_path, choice)


def test_networks_without_heads_are_refused(tmp_path: Path) -> None:
    network_folder(tmp_path)
    with pytest.raises(ModelError, match=r"has no region head; set network.name to a step region_descriptor of `finetune`"):
        RegionDescriptor("region_descriptor", RegionDescriptorParameters()).adopt(tmp_path, CHOICE)
    (tmp_path / "classifier.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no classifier; use weights that hold one"):
        ClassScores("class_scores", ClassScoresParameters()).adopt(tmp_path, CHOICE)
    write_json(tmp_path / "network.json", {"members": [{}, {}]})
    with pytest.raises(ModelError, match="several networks have no classifier in common"):
        ClassScores("class_scores", ClassScoresParameters()).adopt(tmp_path, CHOICE)


def test_region_vectors_may_be_projected_as_the_network_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network_folder(tmp_path)
    random = torch.Generator().manual_seed(0)
    shift, weight = torch.randn(512, generator=random) * 0.01, torch.randn(20, 512, generator=random)
    tensors = load_tensors(tmp_path / "weights.safetensors") | {"projection.shift": shift[None], "projection.weight": weight}
    save_tensors(tmp_path / "came.safetensors", tensors)
    source = {"architecture": "squeezenet1_1", "weights": "file", "location": str(tmp_path / "came.safetensors")}
    params = {"networks": {"net": source | {"sha256": file_sha256(tmp_path / "came.safetensors")}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    network(["net"])
    folder = Path("data/networks/net")
    assert read_json(folder / "network.json")["projection"] == 20
    describer = RegionalMax("rmac", RmacParameters(regional_whitening="network"))
    describer.adopt(folder, CHOICE)
    again = RegionalMax("rmac", RmacParameters(regional_whitening="network"))
    again.restore(*describer.state(), torch.device("cpu"))
    maps = torch.rand(2, 512, 9, 12, generator=random)
    found = again.describe(MapBatch([maps]))
    for own, descriptor in zip(maps, found, strict=True):
        total = torch.zeros(20)
        for y, x, h, w in rmac_regions(9, 12).tolist():
            vector = own[:, y : y + h, x : x + w].amax(dim=(1, 2))
            projected = weight @ (vector / vector.norm() + shift)
            total += projected / projected.norm()
        torch.testing.assert_close(descriptor, total / total.norm(), atol=1e-5, rtol=1e-4)
    assert not describer.parameters.learns
    with pytest.raises(ModelError, match=r"aggregate.rmac.regional_whitening: .* has no projection; use weights that hold projection.shift"):
        RegionalMax("rmac", RmacParameters(regional_whitening="network")).adopt(tmp_path, CHOICE)
    with pytest.raises(ModelError, match=r"projection.shift \(3,\) and projection.weight \(20, 512\) do not fit maps of 512 channels"):
        RegionProjection.published(tensors | {"projection.shift": torch.zeros(3)}, 512)


def test_activations_are_maxima_over_the_classes_above_their_mean(tmp_path: Path) -> None:
    scores = torch.tensor([[[1.0, 5.0], [0.0, 2.0]], [[3.0, 1.0], [0.5, 9.0]]])
    heat, labels = activation_maps(scores)
    assert heat.tolist() == [[3.0, 5.0], [0.5, 9.0]]
    assert labels.tolist() == [[-1, 0], [-1, 1]]
    assert activation_maps(scores[:, :1, :1])[1].tolist() == [[1]]
    network_folder(tmp_path, labels=["a", "b"])
    images = ImageFacts(images=1, unreadable=0, source="folder", resize={})
    extracted = FeatureFacts(network=CHOICE, extract=ExtractParameters(), images=images)
    heads, reason = usable_heads(tmp_path, extracted)
    assert heads is not None
    assert heads.labels == ("a", "b")
    assert reason == ""
    for change in ({"network": CHOICE.model_copy(update={"layers": ("fire5",)})}, {"extract": ExtractParameters(patch_levels=2)}):
        assert usable_heads(tmp_path, extracted.model_copy(update=change)) == (None, "the classifier reads maps of the last layer")
    (tmp_path / "classifier.safetensors").unlink()
    assert usable_heads(tmp_path, extracted) == (None, "the network came without a classifier")


def pictures(count: int, first: int = 0) -> list[Picture]:
    """Random blobs, sharp enough for key points."""
    found = []
    for seed in range(first, first + count):
        noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
        found.append(Picture(cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC).astype(np.uint8)))
    return found


def batch(own: list[Picture]) -> MapBatch:
    return MapBatch([torch.zeros(len(own), 2, 3, 4)], own, [Grid.even(40.0)])


@pytest.mark.parametrize("root", [True, False])
def test_bag_of_words_counts_nearest_words(root: bool) -> None:
    describer = BagOfWords("bag_of_words", BagOfWordsParameters(words=WORDS, root=root, key_points=60))
    held_out = pictures(6)
    describer.fit(lambda: iter([batch(held_out[:4]), batch(held_out[4:])]))
    words, idf = (describer.models["vocabulary"].state()[0][name].numpy() for name in ("words", "idf"))

    def counts(picture: Picture) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        _, found = cv2.SIFT.create(60).detectAndCompute(cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2GRAY), None)
        values = np.sqrt(found / found.sum(axis=1, keepdims=True)) if root else found
        return np.bincount([int(np.square(words - value).sum(axis=1).argmin()) for value in values], minlength=WORDS)

    occurring = sum((counts(picture) > 0).astype(int) for picture in held_out)
    np.testing.assert_allclose(idf, np.log(7 / (occurring + 1)), rtol=1e-5)
    assert idf.max() > 0
    queries = pictures(3, 100)
    expected = np.stack([counts(picture) * idf for picture in queries])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(describer.describe(batch(queries)).numpy(), expected, atol=1e-5)
    assert describer.dimensions(2) == WORDS


def test_photographs_without_key_points_give_zeros_and_nothing_to_learn() -> None:
    describer = BagOfWords("bag_of_words", BagOfWordsParameters(words=WORDS))
    blank = Picture(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ModelError, match=r"aggregate.bag_of_words.words: the held-out photographs have no key points"):
        describer.fit(lambda: iter([batch([blank])]))
    describer.fit(lambda: iter([batch(pictures(4))]))
    assert not describer.describe(batch([blank])).any()
    box = Picture(pixels(0), Part((0.0, 0.0, 10.0, 10.0)))
    assert describer.describe(batch([box])).shape == (1, WORDS)
