"""Fine-tuning on classification: each instance is a class, each photograph a square (paper 4, §3.1)."""

from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from pipeline.finetuning.augmentation import Pixels, changed, squared
from pipeline.finetuning.losses import window_cross_entropy
from pipeline.finetuning.params import ClassificationParameters
from pipeline.finetuning.photographs import Photographs
from pipeline.finetuning.step import BatchLoss, TrainingStep, View, Views
from pipeline.finetuning.trainable_network import TrainableNetwork
from pipeline.finetuning.training_set import TrainingSet


class Classification(TrainingStep):
    """Batches of squares; batch norm is trained. Validated by the mean of the maps."""

    batch_statistics: ClassVar[bool] = True
    described_at_once: ClassVar[int] = 16

    def __init__(self, parameters: ClassificationParameters, network: TrainableNetwork, data: TrainingSet, photographs: Photographs) -> None:
        super().__init__(parameters, network, data, photographs)
        self.parameters = parameters
        network.new_classifier(data.classes, parameters.seed)

    def render(self, view: View) -> tuple[Pixels, ...]:
        image = squared(self.photographs.image(view.index), self.parameters.side)
        return (np.array(changed(image, self.parameters.augmentation, view.random())),)

    def loss(self, items: torch.Tensor, key: tuple[int, ...], views: Views, batch: int) -> BatchLoss:
        pixels = np.stack([views[view][0] for view in self.views(items, key)])
        scores = self.network.scores(self.network.maps(pixels))
        labels = self.labels[items[:, 0]]
        losses = window_cross_entropy(scores, labels)
        wrong = scores.mean(dim=(2, 3)).argmax(dim=1) != labels
        return BatchLoss(losses.sum() / batch, float(losses.detach().sum()), float(wrong.sum()))

    def test_view(self, index: int) -> Pixels:
        return np.array(squared(self.photographs.image(index), self.parameters.side))

    def describe(self, pixels: Pixels) -> torch.Tensor:
        return F.normalize(self.network.maps(pixels).mean(dim=(2, 3)), dim=1)
