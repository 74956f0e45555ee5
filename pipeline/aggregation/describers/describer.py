"""What turns feature maps into descriptors, one per image or one per patch: learned on held-out maps, applied to any."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch

from pipeline.aggregation.map_stream import MapBatch, MapStream
from pipeline.contracts.parameters import Section


class Describer(ABC):
    """One system's way from feature maps to the descriptor of an image, or to those of its patches.

    Subclasses give `pooled` and `finish`, and `fit_before` and `fit_final` for what they learn for the one and for the other.

    Attributes:
        kinds: the classes of learned parts that it may have, by name; each has `tensors`, `card` (with `kind`) and `from_tensors`.
        models: everything learned, by name.
    """

    kinds: ClassVar[dict[str, Any]] = {}

    def __init__(self, method: str, parameters: Section) -> None:
        self.method, self.parameters = method, parameters
        self.models: dict[str, Any] = {}

    @abstractmethod
    def pooled(self, batch: MapBatch) -> torch.Tensor:
        """Maps of B images to (B, D'), or to (B, P, D') for P patches, l2-normalised, before `finish`."""

    @abstractmethod
    def finish(self, vectors: torch.Tensor) -> torch.Tensor:
        """(…, D') to descriptors (…, D), l2-normalised."""

    @abstractmethod
    def dimensions(self, channels: int) -> int:
        """Length of the descriptors of maps with this many channels, once everything is learned."""

    def adopt(self, folder: Path, choice: dict[str, Any]) -> None:
        """Take over what it needs of the active network.

        Args:
            folder: data/networks/NETWORK.
            choice: the section `network` that the maps were extracted with.

        Raises:
            ModelError: the network does not have it.
        """
        return

    def fit_before(self, maps: MapStream) -> None:
        """Learn what `pooled` needs."""
        return

    def fit_final(self, vectors: Iterator[torch.Tensor]) -> None:
        """Learn what `finish` needs, from what `pooled` gives for every held-out batch."""
        return

    @property
    def learns(self) -> bool:
        """Whether a held-out set is needed."""
        return True

    @property
    def needs_pictures(self) -> bool:
        """Whether batches must hold the pictures."""
        return False

    def patches(self, purpose: str, patch_levels: int) -> int | None:
        """How many of the patches of `patch_levels` levels an image keeps, from the first on, as one of `database`, `queries`, `distractors`.

        None: it has one descriptor.
        """
        return None

    def geometry(self, batch: MapBatch) -> torch.Tensor | None:
        """(P, 5): level, x0, y0, x1, y1 of the patches that `describe` gives for each image of the batch; None without patches."""
        return None

    def fit(self, maps: MapStream) -> None:
        """Learn from the held-out set.

        Raises:
            ModelError: it is too small for what is wanted.
        """
        self.fit_before(maps)
        self.fit_final(self.pooled(batch) for batch in maps())

    def describe(self, batch: MapBatch) -> torch.Tensor:
        """Maps of B images to (B, D), or to (B, P, D), l2-normalised; an image without any activation gives zeros."""
        return self.finish(self.pooled(batch))

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


def kept_patches(vectors: torch.Tensor, geometry: torch.Tensor | None, kept: int | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The first of the patches (B, P, D) and of their geometry (P, 5); all of what is no patches."""
    if kept is None or geometry is None:
        return vectors, None
    return vectors[:, :kept], geometry[:kept]
