"""Networks of timm through the steps of fine-tuning: a classifier on top of them, descriptors of regions, and frozen layers."""

from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load, save_file

from pipeline.networks.__main__ import main as network
from pipeline.networks.registry import load_from_folder
from pipeline.networks.timm_layers import build
from pipeline.stage import places
from pipeline.stage.errors import ModelError
from pipeline.stage.fingerprint import file_sha256
from tests.finetuning.conftest import Workplace

CLASSIFICATION: dict[str, Any] = {"step": "classification", "start": "own", "side": 64, "batch": 4, "micro_batch": 4, "epochs": 2}
REGIONS: dict[str, Any] = {"step": "region_descriptor", "start": "classified", "side": 96, "dimensions": 8, "batch": 6, "micro_batch": 3}
NETWORKS = {
    "timm/resnet18": "layer2",
    "timm/convnext_atto": "stages.1",
    "timm/vit_pwee_patch16_reg1_gap_256": "blocks.5",
    "timm/swin_s3_tiny_224": "layers.1",
}
"""Each with the last layer that keeps its weights."""
UNUSED = ("head.", "fc_norm.")
"""Weights behind the final maps."""


def start_from(museum: Workplace, architecture: str) -> None:
    """Random weights of a model as the network `own`."""
    torch.manual_seed(0)
    path = museum.folder / "own.safetensors"
    save_file({key: value.contiguous() for key, value in build(architecture).state_dict().items()}, path)
    base = yaml.safe_load((museum.folder / "base.yaml").read_text())
    base["networks"]["own"] = {"architecture": architecture, "weights": "file", "location": str(path), "sha256": file_sha256(path)}
    (museum.folder / "base.yaml").write_text(yaml.safe_dump(base))
    museum.write()
    network(["own"])


@pytest.mark.slow
def test_steps_follow_each_other_and_give_a_network_like_the_others(museum: Workplace) -> None:
    start_from(museum, "timm/convnext_atto")
    classified = museum.train("classified", **CLASSIFICATION)
    assert classified["architecture"] == "timm/convnext_atto"
    assert len(classified["labels"]) == classified["classes"] == 4
    fully = museum.train("fully", step="fully_convolutional", start="classified", sides=[72, 64], batch=4, epochs=1)
    assert [step["step"] for step in fully["trained_on"]] == ["classification", "fully_convolutional"]
    museum.train("described", **REGIONS)
    assert load(museum.weights("described", "descriptor"))["weight"].shape[0] == 8
    loaded = load_from_folder(places.network("described"))
    with torch.inference_mode():
        assert loaded.feature_maps(torch.zeros(1, 3, 64, 96)).shape == (1, 320, 2, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "frozen"), NETWORKS.items())
def test_the_first_half_keeps_its_weights_and_the_rest_learns(museum: Workplace, architecture: str, frozen: str) -> None:
    start_from(museum, architecture)
    museum.train("classified", **CLASSIFICATION | {"epochs": 1})
    before, after = (load(museum.weights(name)) for name in ("own", "classified"))
    assert before.keys() == after.keys()
    weights = [key for key, _ in build(architecture).named_parameters() if not key.startswith(UNUSED)]
    kept = [key for key in weights if torch.equal(before[key], after[key])]
    changed = [key for key in weights if key not in kept]
    inside = [key for key in weights if key.startswith(f"{frozen}.")]
    assert inside
    assert set(inside) <= set(kept)
    last = max(weights.index(key) for key in inside)
    assert set(weights[: last + 1]) <= set(kept)
    assert len(changed) > 0.5 * len(weights[last + 1 :])


@pytest.mark.slow
def test_layers_that_it_does_not_have_are_refused(museum: Workplace) -> None:
    start_from(museum, "timm/resnet18")
    with pytest.raises(ModelError, match=r"frozen: layer 'block3' is unknown; there are: none, act1, layer1, layer2"):
        museum.train("classified", **CLASSIFICATION | {"frozen": "block3"})
