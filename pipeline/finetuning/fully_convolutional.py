"""Fine-tuning on classification at every place of a photograph, at several sizes (paper 4, §3.4.1)."""

import numpy as np
import torch
from torch.nn import functional as F

from pipeline.finetuning.augmentation import Pixels, changed, limit_aspect, sided
from pipeline.finetuning.losses import window_cross_entropy
from pipeline.finetuning.params import FullyConvolutionalParameters
from pipeline.finetuning.photographs import Photographs
from pipeline.finetuning.step import BatchLoss, TrainingStep, View, Views
from pipeline.finetuning.trainable_network import TrainableNetwork
from pipeline.finetuning.training_set import TrainingSet


class FullyConvolutional(TrainingStep):
    """One photograph at a time at each of its sizes, gradients accumulated, batch statistics frozen (equation 3.5)."""

    def __init__(self, parameters: FullyConvolutionalParameters, network: TrainableNetwork, data: TrainingSet, photographs: Photographs) -> None:
        super().__init__(parameters, network, data, photographs)
        self.parameters = parameters
        network.new_classifier(data.classes, parameters.seed)

    def render(self, view: View) -> tuple[Pixels, ...]:
        random = view.random()
        image = limit_aspect(self.photographs.image(view.index), self.parameters.maximal_aspect, random)
        return tuple(np.array(changed(sided(image, side), self.parameters.augmentation, view.random())) for side in self.parameters.sides)

    def loss(self, items: torch.Tensor, key: tuple[int, ...], views: Views, batch: int) -> BatchLoss:
        (view,), label = self.views(items, key), self.labels[items[:, 0]]
        losses, wrong = [], 0.0
        for pixels in views[view]:
            scores = self.network.scores(self.network.maps(pixels[None]))
            losses.append(window_cross_entropy(scores, label).sum())
            wrong += float(scores.mean(dim=(2, 3)).argmax(dim=1) != label)
        loss = torch.stack(losses).mean()
        return BatchLoss(loss / batch, float(loss.detach()), wrong / len(losses))

    def test_view(self, index: int) -> Pixels:
        return np.array(sided(self.photographs.image(index), max(self.parameters.sides)))

    def describe(self, pixels: Pixels) -> torch.Tensor:
        return F.normalize(self.network.maps(pixels).mean(dim=(2, 3)), dim=1)
