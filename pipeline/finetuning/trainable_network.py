"""A network that is trained: its convolutions, its classifier and its region head, as far as it has them."""

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy.typing as npt
import torch
from torch import nn

from pipeline.contracts.models import load_tensors
from pipeline.networks.classifier import Classifier
from pipeline.networks.heads import load_heads
from pipeline.networks.preprocessing import Preprocessing
from pipeline.networks.region_head import RegionHead
from pipeline.networks.registry import CARD, WEIGHTS, load_convolutions, preprocessing_of
from pipeline.networks.trainable import Trainable, trainable
from pipeline.stage.errors import ModelError
from pipeline.stage.tables import read_json


@dataclass
class TrainableNetwork:
    """Attributes:
    card: what network.json of its folder says.
    convolutions: images to the maps of the last layer.
    """

    card: dict[str, Any]
    convolutions: nn.Module
    classifier: Classifier | None
    labels: tuple[str, ...]
    head: RegionHead | None
    device: torch.device
    precision: str = "float32"

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device, precision: str) -> Self:
        """What the network stage, or another step of fine-tuning, wrote.

        Raises:
            ModelError: several networks, or weights of another architecture.
        """
        card = read_json(folder / CARD)
        heads = load_heads(folder)
        convolutions = load_convolutions(card["architecture"], load_tensors(folder / WEIGHTS)).to(device)
        convolutions = convolutions.to(memory_format=torch.channels_last)
        modules = [None if module is None else module.to(device) for module in (heads.classifier, heads.descriptor)]
        return cls(card, convolutions, modules[0], heads.labels, modules[1], device, precision)  # type: ignore[arg-type]

    @property
    def window(self) -> int:
        """Cells on a side of the classifier's window."""
        return self._form.classifier.window

    @property
    def _form(self) -> Trainable:
        return trainable(self.card["architecture"], int(self.card["channels"]))

    @cached_property
    def _preprocess(self) -> Preprocessing:
        return preprocessing_of(self.card["architecture"], self.card["preprocessing"])

    @property
    def modules(self) -> dict[str, nn.Module]:
        """By the name that their weights are kept under."""
        named = {"convolutions": self.convolutions, "classifier": self.classifier, "descriptor": self.head}
        return {name: module for name, module in named.items() if module is not None}

    def new_classifier(self, labels: tuple[str, ...], seed: int) -> None:
        """Classify other labels: hidden layers keep their weights, the layer that gives the scores starts anew."""
        if labels == self.labels and self.classifier is not None:
            return
        form = self._form.classifier
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = Classifier(form, len(labels))
            output = fresh.get_submodule(form.output)
            nn.init.normal_(output.get_parameter("weight"), std=0.01)
            nn.init.zeros_(output.get_parameter("bias"))
        if self.classifier is not None:
            known = {key: value for key, value in self.classifier.state_dict().items() if not key.startswith(form.output + ".")}
            fresh.load_state_dict({key: value.cpu() for key, value in known.items()}, strict=False)
        self.classifier, self.labels = fresh.to(self.device), labels

    def freeze(self, last_frozen: str | None) -> list[nn.Parameter]:
        """Fix the weights up to a layer; returns those that are trained.

        Args:
            last_frozen: a layer of the architecture; None for the architecture's own choice; 'none' to train all.

        Raises:
            ModelError: unknown layer.
        """
        architecture = self._form
        layer = architecture.frozen if last_frozen is None else last_frozen
        if layer != "none" and layer not in architecture.layers:
            raise ModelError(f"frozen: layer {layer!r} is unknown; there are: none, {', '.join(architecture.layers)}")
        fixed = set() if layer == "none" else _through(self.convolutions, architecture.layers[layer])
        for name, parameter in self.convolutions.named_parameters():
            parameter.requires_grad_(name not in fixed)
        for module in (self.classifier, self.head):
            if module is not None:
                module.requires_grad_(True)
        return [parameter for module in self.modules.values() for parameter in module.parameters() if parameter.requires_grad]

    def train_mode(self, batch_statistics: bool, dropout: bool) -> None:
        """Dropout in the classifier, and batch statistics in what is trained of the convolutions, where they are wanted."""
        self.test_mode()
        if self.classifier is not None and dropout:
            self.classifier.train()
        if batch_statistics:
            for module in self.convolutions.modules():
                if isinstance(module, nn.BatchNorm2d) and module.weight.requires_grad:
                    module.train()

    def test_mode(self) -> None:
        for module in self.modules.values():
            module.eval()

    def maps(self, pixels: npt.NDArray[Any]) -> torch.Tensor:
        """(B, H, W, 3) uint8 RGB to (B, K, H', W') float32."""
        with self.autocast():
            maps: torch.Tensor = self.convolutions(self._preprocess(pixels, self.device))
        return maps.float()

    def scores(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, K, H', W') to class scores (B, C, H'', W'') float32.

        Raises:
            ModelError: it has no classifier.
        """
        if self.classifier is None:
            raise ModelError(f"{self.card['architecture']}: no classifier came with the weights; start from a step that classifies")
        with self.autocast():
            scores: torch.Tensor = self.classifier(maps)
        return scores.float()

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision, where it is wanted; weights stay float32."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.precision))

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of all weights and statistics, by module and key."""
        found = {f"{name}.{key}": value for name, module in self.modules.items() for key, value in module.state_dict().items()}
        return {name: copy.deepcopy(value.detach()) for name, value in found.items()}

    def restore(self, state: dict[str, torch.Tensor], origin: str) -> None:
        """Take over what `state` gave.

        Raises:
            ModelError: the state of another network.
        """
        own = self.state()
        wrong = sorted(own.keys() ^ state.keys()) or sorted(key for key, value in own.items() if value.shape != state[key].shape)
        if wrong:
            raise ModelError(f"{origin}: not a checkpoint of this {self.card['architecture']}: {wrong[0]} differs; remove it to train from the start")
        for name, module in self.modules.items():
            module.load_state_dict({key: state[f"{name}.{key}"] for key in module.state_dict()})


def _through(module: nn.Module, last: str) -> set[str]:
    """Names of the parameters of a module's parts up to one of them, itself included, in the order in which they were made."""
    names: set[str] = set()
    reached = False
    for name, part in module.named_modules():
        inside = name == last or name.startswith(last + ".")
        if reached and not inside:
            break
        reached = reached or inside
        names |= {f"{name}.{key}".removeprefix(".") for key, _ in part.named_parameters(recurse=False)}
    return names
