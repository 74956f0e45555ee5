"""Linear adaptation: a linear layer over fixed descriptors, trained by classes (Kordopatis-Zilos et al., CVPR 2025, ILIAS, §5; their code)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Self

import torch
from torch.nn import functional as F

from pipeline.contracts.models import Learned
from pipeline.contracts.running.progress import Progress
from pipeline.projections.labels import known_labels
from pipeline.stage.errors import ModelError


@dataclass(frozen=True)
class Training:
    """How the layer is trained.

    Attributes:
        epochs, least_steps: passes over the images, more where these are fewer steps than that.
        batch: images per step.
        scale: of the cosines before the softmax.
        seed: of the first weights and of the order of images.
    """

    epochs: int
    least_steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    scale: float
    seed: int

    def passes(self, images: int) -> int:
        """Epochs over so many images."""
        return max(self.epochs, math.ceil(self.least_steps / max(images // self.batch, 1)))


class LinearAdaptation(Learned):
    """x ↦ W·x + b, so that class c of unit vectors w_c has the logit scale · cos(W·x + b, w_c), by softmax cross-entropy and Adam.

    Args:
        dim: rows of W; None for as many as the vectors have.

    Attributes:
        components_: W, (dim, D) float32.
        shift_: b, (dim,) float32.
        count_, instances_: vectors and classes learned from.
        loss_: mean of the last epoch.
    """

    arrays = ("components_", "shift_")
    facts: ClassVar[tuple[str, ...]] = ("dim", "training", "count_", "instances_", "loss_")

    def __init__(self, training: Training, dim: int | None = None) -> None:
        self.dim, self.training = dim, asdict(training)

    def fit(self, vectors: torch.Tensor, instances: Sequence[str | None]) -> Self:
        """Learn from l2-normalised vectors (N, D) float32 and what each shows; an image of unknown instance is left out.

        Raises:
            ModelError: fewer than two instances, or two images.
        """
        known, labels, shown = known_labels(instances)
        if shown < 2:
            raise ModelError(
                f"a linear adaptation needs held-out images of two instances or more; there are {len(known)} images of {shown}; "
                "name a held-out set whose catalogue says what its images show"
            )
        rows = vectors[known].float()
        weights = first_weights(rows.shape[1], self.dim or rows.shape[1], shown, self.training["seed"])
        trained, self.loss_ = self._trained([each.to(rows.device) for each in weights], rows, labels.to(rows.device))
        self.components_, self.shift_ = trained[0].detach(), trained[1].detach()
        self.count_, self.instances_ = len(rows), shown
        return self

    def _trained(self, weights: list[torch.Tensor], rows: torch.Tensor, labels: torch.Tensor) -> tuple[list[torch.Tensor], float]:
        own = Training(**self.training)
        weights = [each.requires_grad_() for each in weights]
        optimizer = torch.optim.Adam(weights, lr=own.learning_rate, weight_decay=own.weight_decay)
        losses: list[torch.Tensor] = []
        epochs = own.passes(len(rows))
        with Progress("adaptation", epochs, "epochs") as progress, torch.enable_grad():
            for epoch in range(epochs):
                losses = []
                for places in batches(len(rows), own.batch, own.seed + epoch):
                    chosen = places.to(rows.device)
                    loss = F.cross_entropy(own.scale * cosines(weights, rows[chosen]), labels[chosen])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.detach())
                progress.advance()
        return weights, float(torch.stack(losses).mean())

    def transform(self, vectors: torch.Tensor) -> torch.Tensor:
        """(…, D) to (…, dim)."""
        return F.linear(vectors, self.components_.to(vectors), self.shift_.to(vectors))


def first_weights(dimensions: int, dim: int, classes: int, seed: int) -> list[torch.Tensor]:
    """W (dim, D) drawn as Glorot and Bengio say, b = 0 (dim,), and class vectors (C, dim) uniform within ±1/√dim."""
    draw = torch.Generator().manual_seed(seed)
    bound = (6 / (dimensions + dim)) ** 0.5
    layer = torch.rand(dim, dimensions, generator=draw) * 2 * bound - bound
    return [layer, torch.zeros(dim), (torch.rand(classes, dim, generator=draw) * 2 - 1) / dim**0.5]


def batches(count: int, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Places of an epoch's batches in a random order; an incomplete one at the end is left out, unless it is the only one."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return (chosen for chosen in order.split(size) if len(chosen) == min(size, count))


def cosines(weights: Sequence[torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """(B, C) of adapted vectors and class vectors."""
    layer, shift, classes = weights
    return F.normalize(F.linear(rows, layer, shift), dim=1) @ F.normalize(classes, dim=1).T
