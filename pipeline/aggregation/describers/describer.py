"""What turns feature maps into descriptors: learned on held-out maps, applied to any."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch

from pipeline.aggregation.map_stream import MapBatch, MapStream
from pipeline.aggregation.normalization import l2
from pipeline.aggregation.pictures import Picture
from pipeline.contracts.parameters import Section


class Describer(ABC):
    """One system's way from feature maps to one descriptor per image.

    Subclasses give `describe_scale` and `finish`, and `fit_before` and `fit_final` for what they learn before and after the scales are one.

    Attributes:
        kinds: the classes of learned parts that it may have, by name; each has `tensors`, `card` (with `kind`) and `from_tensors`.
        models: everything learned, by name.
    """

    kinds: ClassVar[dict[str, Any]] = {}

    def __init__(self, method: str, parameters: Section) -> None:
        self.method, self.parameters = method, parameters
        self.models: dict[str, Any] = {}

    @abstractmethod
    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        """(B, K, H, W) to (B, D'), l2-normalised, before what is learned from whole images."""

    @abstractmethod
    def finish(self, vectors: torch.Tensor) -> torch.Tensor:
        """(B, D') to descriptors (B, D), l2-normalised."""

    @abstractmethod
    def dimensions(self, channels: int) -> int:
        """Length of the descriptors of maps with this many channels, once everything is learned."""

    def fit_before(self, maps: MapStream) -> None:
        """Learn what `describe_scale` needs."""
        return

    def fit_final(self, vectors: Iterator[torch.Tensor]) -> None:
        """Learn what `finish` needs, from the (B, D') of every held-out batch."""
        return

    def combine(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        """One vector from those of several scales: their mean."""
        return torch.stack(list(scales)).mean(dim=0)

    @property
    def learns(self) -> bool:
        """Whether a held-out set is needed."""
        return True

    @property
    def needs_pictures(self) -> bool:
        """Whether batches must hold the pictures."""
        return False

    def fit(self, maps: MapStream) -> None:
        """Learn from the held-out set.

        Raises:
            ModelError: it is too small for what is wanted.
        """
        self.fit_before(maps)
        self.fit_final(self.pooled(batch) for batch in maps())

    def describe(self, batch: MapBatch) -> torch.Tensor:
        """Maps of B images to (B, D), l2-normalised; an image without any activation gives zeros."""
        return self.finish(self.pooled(batch))

    def pooled(self, batch: MapBatch) -> torch.Tensor:
        """Maps of B images to (B, D'), l2-normalised: the scales as one, before `finish`."""
        vectors = [self.describe_scale(maps, pictures) for maps, pictures in batch.with_pictures()]
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
        for name, facts in card["models"].items():
            own = {key.removeprefix(f"{name}."): value.to(device) for key, value in tensors.items() if key.startswith(f"{name}.")}
            self.models[name] = self.kinds[facts["kind"]].from_tensors(own, facts)
