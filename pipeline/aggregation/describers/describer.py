"""What turns feature maps into descriptors, one per image or one per patch: learned on held-out maps, applied to any."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from pipeline.aggregation.params import MethodParameters
from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.contracts.features.product_codes import ProductCodes
from pipeline.contracts.models import State, part_of
from pipeline.maps.stream import MapBatch, MapStream

AT_ONCE = {"cpu": 1, "cuda": 32}
"""Images that are described together."""


class Describer(ABC):
    """One system's way from feature maps to the descriptor of an image, or to those of its patches.

    Subclasses give `pooled` and `finish`, and `fit_before` and `fit_final` for what they learn for the one and for the other.

    Attributes:
        kinds: the classes of learned parts that it may have, by name; each has `state` and `from_state` (contracts.models.Learned).
        models: everything learned, by name.
    """

    kinds: ClassVar[dict[str, Any]] = {}

    def __init__(self, method: str, parameters: MethodParameters) -> None:
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

    def adopt(self, folder: Path, choice: NetworkChoice) -> None:
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

    def patches(self, purpose: str, patch_levels: int) -> int | None:
        """How many of the patches of `patch_levels` levels an image keeps, from the first on, as one of `database`, `queries`, `distractors`.

        None: it has one descriptor.
        """
        return None

    @property
    def product_codes(self) -> ProductCodes | None:
        """What database vectors are stored as; None: as values."""
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

    def describe_each(self, batch: MapBatch) -> torch.Tensor:
        """As `describe`, in batches of one size, so that no image's descriptor depends on its neighbours: arithmetic rounds differently in
        batches of other sizes."""
        count, size = len(batch.scales[0]), AT_ONCE[batch.scales[0].device.type]
        described = []
        for first in range(0, count, size):
            places = [min(first + offset, count - 1) for offset in range(size)]  # the last image stands for those that are missing
            pictures = [batch.pictures[place] for place in places] if batch.pictures else ()
            own = replace(batch, scales=[maps[places] for maps in batch.scales], pictures=pictures, instances=())
            described.append(self.describe(own)[: count - first])
        return torch.cat(described)

    def state(self) -> State:
        """Everything learned: tensors by model and name, and a card with the method, its parameters, and what each model is."""
        tensors: dict[str, torch.Tensor] = {}
        cards = {}
        for name, model in self.models.items():
            own, cards[name] = model.state()
            tensors |= {f"{name}.{key}": value for key, value in own.items()}
        return tensors, {"method": self.method, "parameters": self.parameters.model_dump(), "models": cards}

    def restore(self, tensors: dict[str, torch.Tensor], card: dict[str, Any], device: torch.device) -> None:
        """Take over what `state` gave."""
        for name, own in card["models"].items():
            values = {key: value.to(device) for key, value in part_of(tensors, name).items()}
            self.models[name] = self.kinds[own["kind"]].from_state(values, own)
