"""What turns feature maps into descriptors: learned on held-out maps, applied to any."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch

from pipeline.aggregation.moments import Moments
from pipeline.aggregation.normalization import l2
from pipeline.aggregation.params import WhitenedParameters
from pipeline.aggregation.whitening import PCA, WHITENINGS

MapStream = Callable[[], Iterator[Sequence[torch.Tensor]]]
"""Starts a fresh pass over the held-out maps; an item is one batch: a tensor (B, K, H, W) float32 per scale."""


class Describer(ABC):
    """One system's way from feature maps to one descriptor per image.

    Subclasses give `describe_scale`, and `fit_before` where they learn something before the final whitening.

    Attributes:
        models: everything learned, by name.
    """

    name: ClassVar[str]

    def __init__(self, method: str, parameters: WhitenedParameters) -> None:
        self.method, self.parameters = method, parameters
        self.models: dict[str, PCA] = {}

    @abstractmethod
    def describe_scale(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, K, H, W) to (B, D'), l2-normalised, before the final whitening."""

    def fit_before(self, maps: MapStream) -> None:
        """Learn what `describe_scale` needs."""
        return

    def combine(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        """One vector from those of several scales: their mean."""
        return torch.stack(list(scales)).mean(dim=0)

    @property
    def learns(self) -> bool:
        """Whether a held-out set is needed."""
        return self.parameters.whitening != "none"

    def fit(self, maps: MapStream) -> None:
        """Learn from the held-out set.

        Raises:
            ModelError: it is too small for what is wanted.
        """
        self.fit_before(maps)
        if self.parameters.whitening != "none":
            vectors = (self._pooled(batch) for batch in maps())
            self.models["final"] = learn_whitening(self.parameters.whitening, self.parameters.dimensions, self.parameters.shrinkage, vectors)

    def describe(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        """One tensor (B, K, H, W) float32 per scale to (B, D), l2-normalised; an image without any activation gives zeros."""
        vectors = self._pooled(scales)
        return l2(self.models["final"].transform(vectors)) if "final" in self.models else vectors

    def _pooled(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        vectors = [self.describe_scale(maps) for maps in scales]
        return l2(self.combine(vectors)) if len(vectors) > 1 else vectors[0]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything learned, by model and name."""
        return {f"{name}.{key}": value for name, model in self.models.items() for key, value in model.tensors().items()}

    def card(self) -> dict[str, Any]:
        """Method, parameters, and what each learned part is."""
        parts = {name: model.card() for name, model in self.models.items()}
        return {"method": self.method, "parameters": self.parameters.model_dump(), "models": parts}

    def restore(self, tensors: dict[str, torch.Tensor], card: dict[str, Any], device: torch.device) -> None:
        """Take over what `tensors` and `card` gave."""
        kinds = {kind.__name__: kind for kind in WHITENINGS.values()}
        for name, facts in card["models"].items():
            own = {key.removeprefix(f"{name}."): value.to(device) for key, value in tensors.items() if key.startswith(f"{name}.")}
            self.models[name] = kinds[facts["kind"]].from_tensors(own, facts)


def learn_whitening(kind: str, dim: int | None, shrinkage: float, batches: Iterator[torch.Tensor]) -> PCA:
    """Learn a model of WHITENINGS from a stream of (N, D) vectors."""
    moments: Moments | None = None
    for vectors in batches:
        moments = moments or Moments(vectors.shape[-1], vectors.device)
        moments.update(vectors)
    return WHITENINGS[kind](dim, shrinkage).fit_moments(moments or Moments(1))
