"""What a step of training is to the loop that runs it: its views, its loss, and the descriptor that it is validated by."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from pipeline.finetuning.augmentation import Pixels
from pipeline.finetuning.params import StepParameters
from pipeline.finetuning.photographs import Photographs
from pipeline.finetuning.trainable_network import TrainableNetwork
from pipeline.finetuning.training_set import TrainingSet


@dataclass(frozen=True)
class View:
    """One look at a photograph; all that is random about it follows from its fields.

    Attributes:
        index: of the photograph.
        number: tells two views of a photograph in one batch apart.
        key: seed, epoch and batch.
    """

    index: int
    number: int
    key: tuple[int, ...]

    def random(self) -> np.random.Generator:
        return np.random.default_rng([*self.key, self.index, self.number])


@dataclass(frozen=True)
class BatchLoss:
    """Attributes:
    value: what gradients are taken of: this part's share of the batch's loss.
    total: sum over the items, for the training curve.
    active: items that have something to learn: triplets with a loss, misclassified photographs.
    """

    value: torch.Tensor
    total: float
    active: float


Views = Mapping[View, tuple[Pixels, ...]]


class TrainingStep(ABC):
    """A step with its network and its photographs.

    Attributes:
        unit: what an item is, in the plural.
        batch_statistics: whether batch norm is trained; its statistics are frozen where photographs come one at a time.
        dropout: whether the classifier is trained with the dropout that it has.
        described_at_once: photographs that are described together.
    """

    unit: ClassVar[str] = "images"
    batch_statistics: ClassVar[bool] = False
    dropout: ClassVar[bool] = True
    described_at_once: ClassVar[int] = 1

    def __init__(self, parameters: StepParameters, network: TrainableNetwork, data: TrainingSet, photographs: Photographs) -> None:
        self.network, self.data, self.photographs = network, data, photographs
        self.labels = data.labels.to(network.device)
        self.seed = parameters.seed

    @property
    def guessing(self) -> float | None:
        """The loss of guessing, ln C; None where the loss has no such mark."""
        return math.log(len(self.data.classes))

    def prepare(self) -> None:
        """What is learned before the first epoch."""
        return

    def plan(self, epoch: int, descriptors: torch.Tensor) -> torch.Tensor:
        """The items (n, w) of an epoch in their order: indices of photographs, here each one once.

        Args:
            descriptors: (N, D) of all photographs, as the network stands.
        """
        return self.shuffled(torch.arange(self.data.trained)[:, None], epoch)

    def shuffled(self, items: torch.Tensor, epoch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return items[torch.randperm(len(items), generator=generator)]

    def views(self, items: torch.Tensor, key: tuple[int, ...]) -> list[View]:
        """What is to be rendered for items (m, w), each view once."""
        return [View(index, 0, key) for index in items[:, 0].tolist()]

    @abstractmethod
    def render(self, view: View) -> tuple[Pixels, ...]:
        """The training view of a photograph, at one size or several; called in threads."""

    @abstractmethod
    def loss(self, items: torch.Tensor, key: tuple[int, ...], views: Views, batch: int) -> BatchLoss:
        """Loss of a part (m, w) of a batch of `batch` items."""

    @abstractmethod
    def test_view(self, index: int) -> Pixels:
        """A photograph as it is described, nothing about it random."""

    @abstractmethod
    def describe(self, pixels: Pixels) -> torch.Tensor:
        """(B, H, W, 3) to descriptors (B, D), l2-normalised."""
