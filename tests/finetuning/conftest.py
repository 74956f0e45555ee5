"""A small data set, resized, and a small network, as the stages before write them; what depends on nothing is made once."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from pipeline.acquisition.__main__ import main as download
from pipeline.finetuning.__main__ import main as finetune
from pipeline.imaging.__main__ import main as prepare
from pipeline.networks.__main__ import main as network
from pipeline.networks.registry import ARCHITECTURES
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.tables import read_json
from tests.pictures import pixels

INSTANCES, PHOTOGRAPHS = 6, 3
LEARNING_RATE = 1e-3
"""At which the small network learns."""
PLAIN = {"rotation": 10.0, "scale": 0.1, "flip": 0.0}


def photograph(instance: int, number: int) -> Image.Image:
    """One of several photographs of an instance: another light and another part."""
    values = pixels(instance, 120, 90)[number * 4 :, number * 6 :].astype(float)
    return Image.fromarray(np.clip(values * (0.8 + 0.15 * number), 0, 255).astype(np.uint8))


class Workplace:
    """A folder with data/images/museum, data/networks/squeezenet and steps of training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **steps: dict[str, Any]) -> None:
        """Steps of training as the section finetune; each trains on the small data set for two epochs unless it says otherwise."""
        common = {"dataset": "museum", "epochs": 2, "validation_share": 0.34, "learning_rate": LEARNING_RATE, "augmentation": PLAIN}
        params = yaml.safe_load((self.folder / "base.yaml").read_text())
        params["finetune"] = {name: common | step for name, step in steps.items()}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def train(self, name: str, **step: Any) -> dict[str, Any]:
        """Train one step; returns the card of what it made."""
        self.write(**{name: step})
        finetune([name])
        return self.card(name)

    def card(self, name: str) -> dict[str, Any]:
        card: dict[str, Any] = read_json(self.folder / "data/networks" / name / "network.json")
        return card

    def weights(self, name: str, file: str = "weights") -> bytes:
        return (self.folder / "data/networks" / name / f"{file}.safetensors").read_bytes()


def make_network(folder: Path, architecture: str, name: str, classes: int = 0) -> dict[str, Any]:
    """Random weights as a published file; returns the section networks.NAME."""
    torch.manual_seed(0)
    trunk = ARCHITECTURES[architecture].build()
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    path = folder / f"{name}.safetensors"
    save_file(trunk.state_dict(), path)
    return {"architecture": architecture, "weights": "file", "location": str(path), "sha256": file_sha256(path)}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("museum")
    for instance in range(INSTANCES):
        for number in range(PHOTOGRAPHS):
            path = folder / "photographs" / "database" / f"piece{instance}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph(instance, number).save(path)
    params = {
        "datasets": {"museum": {"source": "folder", "path": str(folder / "photographs")}},
        "networks": {"squeezenet": make_network(folder, "squeezenet1_1", "squeezenet")},
        "resize": {"rule": "longest_side", "pixels": 96},
    }
    (folder / "base.yaml").write_text(yaml.safe_dump(params))
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    before = Path.cwd()
    os.chdir(folder)
    try:
        download(["museum"])
        prepare(["museum"])
        network(["squeezenet"])
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def museum(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """A fresh copy to train in."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RETRIEVAL_DEVICE", "cpu")
    return Workplace(folder)


@pytest.fixture(scope="session")
def classified(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/networks/classified: the small network after a step of classification."""
    folder = tmp_path_factory.mktemp("classified") / "work"
    shutil.copytree(prepared, folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        Workplace(folder).train("classified", step="classification", start="squeezenet", side=64, batch=4, micro_batch=4, frozen="fire7", epochs=6)
    finally:
        os.chdir(before)
    return folder / "data/networks/classified"


@pytest.fixture
def adopt(museum: Workplace, classified: Path) -> Callable[[], None]:
    """Puts the classified network into the workplace."""

    def copy() -> None:
        shutil.copytree(classified, museum.folder / "data/networks/classified")

    return copy
