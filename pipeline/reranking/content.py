"""The photographs and feature maps behind images, for re-ranking that looks at them again."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from pipeline.contracts.features.feature_shards import FeatureFacts
from pipeline.contracts.images.image_shards import KIND, StoredImage, read_images
from pipeline.contracts.running.settings import settings
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.loading import LoadedBatch, computed_pieces
from pipeline.extraction.planning import plan_batches
from pipeline.maps.fresh import fresh_maps
from pipeline.maps.stream import MapBatch, stream_maps
from pipeline.networks.registry import load_from_folder
from pipeline.stage.manifest import load_manifest


@dataclass(frozen=True)
class Asked:
    """A photograph that asks and is in no folder: as it would be stored, and its feature maps."""

    stored: StoredImage
    maps: MapBatch


@dataclass(frozen=True)
class Content:
    """Where the images are.

    Attributes:
        images: folders of image shards; the first one's images are those that have maps.
        features: folder of the feature maps.
        network, model: folders of the network, and of what the method learned.
        made_with: what the maps were extracted with.
        asked: photographs that ask, by an id that no image has.
        weights: folder with copies of the weights of learned local features; None: they lie where the parameters say.
    """

    images: tuple[Path, ...]
    features: Path
    network: Path
    model: Path
    made_with: FeatureFacts
    device: torch.device
    asked: dict[str, Asked] = field(default_factory=dict)
    weights: Path | None = None

    def photographs(self, wanted: set[str]) -> Iterator[StoredImage]:
        """The stored images, those that ask first, by the ids that they ask under."""
        yield from (replace(self.asked[image_id].stored, image_id=image_id) for image_id in wanted & self.asked.keys())
        missing = wanted - self.asked.keys()
        for folder in self.images:
            for path in load_manifest(folder, KIND).paths(folder) if missing else ():
                for stored in read_images(path, missing):
                    missing.discard(stored.image_id)
                    yield stored

    def maps(self, wanted: set[str], with_pictures: bool) -> Iterator[tuple[list[str], MapBatch]]:
        """Batches of maps: as they are stored, and those of distractors, which have none on disk, extracted again."""
        yield from (([image_id], self.asked[image_id].maps) for image_id in wanted & self.asked.keys())
        missing = wanted - self.asked.keys()
        if not missing:
            return
        for ids, batch in stream_maps(self.features, missing, self.device, self.images[0] if with_pictures else None):
            missing = missing.difference(ids)
            yield ids, batch
        if missing:
            yield from self._extracted(missing, with_pictures)

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        choice = self.made_with.network
        return FeatureExtractor(load_from_folder(self.network, choice.layers, choice.pooled), self.made_with.extract, self.device)

    def _extracted(self, wanted: set[str], with_pictures: bool) -> Iterator[tuple[list[str], MapBatch]]:
        batches = [batch for folder in self.images[1:] for batch in plan_batches(folder, wanted)]

        def extracted(loaded: LoadedBatch) -> tuple[list[str], MapBatch]:
            return list(loaded.plan.image_ids), fresh_maps(loaded, self._extractor, with_pictures)

        yield from computed_pieces(batches, extracted, settings().threads, self._extractor.at_once)
