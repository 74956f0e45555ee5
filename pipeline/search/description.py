"""From a photograph to what is compared with a collection: resized, extracted and described exactly as the stages do it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.acquisition.sources import Photograph
from pipeline.aggregation.describers.registry import load_describer
from pipeline.contracts.collections import HASHER, MODEL, NETWORK, CollectionFacts
from pipeline.contracts.features.storage import rounded
from pipeline.contracts.images.image_shards import StoredImage
from pipeline.contracts.running.parallel import single_threads
from pipeline.contracts.running.settings import settings
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.loading import LoadedBatch
from pipeline.extraction.planning import PlannedBatch
from pipeline.hashing.registry import load_hasher
from pipeline.imaging.images import decode
from pipeline.imaging.params import ResizeParameters
from pipeline.imaging.preparation import prepare
from pipeline.maps.fresh import fresh_maps
from pipeline.maps.stream import MapBatch
from pipeline.networks.registry import load_from_folder
from pipeline.stage.catalogue import Box
from pipeline.stage.errors import ImageError

NOT_STORED = Path("a photograph that asks")


@dataclass(frozen=True)
class Question:
    """A photograph that asks.

    Attributes:
        stored: as the stage resize would store it.
        maps: as the stage extract would.
        row: its descriptor (1, D) or those of its patches (1, P, D) float32, or its code (1, B) uint8.
    """

    stored: StoredImage
    maps: MapBatch
    row: npt.NDArray[Any]


class PhotographDescriber:
    """What is needed to describe photographs, loaded at the first one.

    Args:
        folder: of a version of the collection.
    """

    def __init__(self, folder: Path, facts: CollectionFacts, device: torch.device) -> None:
        self.folder, self.facts, self.device = folder, facts, device
        self.made_with = facts.described.features
        self.resize = ResizeParameters.model_validate(self.made_with.images.resize)

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        choice = self.made_with.network
        return FeatureExtractor(load_from_folder(self.folder / NETWORK, choice.layers, choice.pooled), self.made_with.extract, self.device)

    @cached_property
    def _describer(self) -> Any:
        return load_describer(self.folder / MODEL, self.device)[0]

    @cached_property
    def _hasher(self) -> Any:
        return load_hasher(self.folder / HASHER, self.device)

    def prepared(self, name: str, data: bytes, box: Box | None = None) -> StoredImage:
        """A photograph as the stage resize would store a query.

        Args:
            name: for errors, and the id.
            box: around the object, in pixels of the upright photograph: x0, y0, x1, y1.

        Raises:
            ImageError: it cannot be read, or the box lies outside.
        """
        if box is not None and self.resize.query_crop == "none":
            raise ImageError(f"{name}: the collection was made with resize.query_crop none, so that a box means nothing; ask without one")
        row, stored = prepare(Photograph(name, name, data, "query", box=box), self.resize)
        if stored is None:
            raise ImageError(f"{name}: {row.status.removeprefix('unreadable: ')}")
        return stored

    def questions(self, prepared: Sequence[StoredImage]) -> list[Question]:
        """Describe prepared photographs, on a processor each by one thread as the stages do it: more threads move a descriptor by some 1e-5."""
        return list((map if self._threads is None else self._threads.map)(self._question, prepared))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor | None:
        if self.device.type != "cpu" or settings().threads == 1:
            return None
        _ = self._extractor, self._describer, self.facts.hashed and self._hasher  # loaded before several threads ask for them
        return single_threads(settings().threads)

    def _question(self, stored: StoredImage) -> Question:
        plan = PlannedBatch(NOT_STORED, (stored.image_id,), stored.width, stored.height, stored.part)
        describer, pixels = self._describer, np.stack([decode(stored.bytes)])
        with torch.inference_mode():
            maps = fresh_maps(LoadedBatch(plan, pixels), self._extractor, describer.parameters.needs_pictures)
            vectors = self._as_stored(describer.describe_each(maps))
            kept = describer.patches("queries", maps.patches.levels if maps.patches else 0)
            if self.facts.hashed:
                return Question(stored, maps, self._hasher.encode(vectors).cpu().numpy())
        return Question(stored, maps, (vectors if kept is None else vectors[:, :kept]).cpu().numpy().astype(np.float32, copy=False))

    def _as_stored(self, vectors: torch.Tensor) -> torch.Tensor:
        """Rounded as those that they are compared with."""
        storage = self.facts.described.storage
        return vectors if storage == "float32" else torch.from_numpy(rounded(vectors.cpu().numpy(), storage)).to(vectors.device)
