"""The photographs and feature maps behind a benchmark's images, for re-ranking that looks at them again."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from pipeline.contracts.feature_shards import FeatureFacts
from pipeline.contracts.image_shards import KIND, StoredImage, read_images
from pipeline.contracts.settings import settings
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.loading import load_batches
from pipeline.extraction.planning import plan_batches
from pipeline.maps.fresh import fresh_maps
from pipeline.maps.stream import MapBatch, stream_maps
from pipeline.networks.registry import load_from_folder
from pipeline.stage import places
from pipeline.stage.manifest import load_manifest


@dataclass(frozen=True)
class Content:
    """Where the images of a benchmark are.

    Attributes:
        dataset, distractors: names of data sets.
        features: what the manifest of the data set's feature maps says they were extracted with.
    """

    benchmark: str
    dataset: str
    distractors: str
    features: FeatureFacts
    device: torch.device

    def photographs(self, wanted: set[str]) -> Iterator[StoredImage]:
        """The stored images, those of the data set first."""
        missing = set(wanted)
        for folder in (places.images(self.dataset), places.images(self.distractors)):
            for path in load_manifest(folder, KIND).paths(folder) if missing else ():
                for stored in read_images(path, missing):
                    missing.discard(stored.image_id)
                    yield stored

    def maps(self, wanted: set[str], with_pictures: bool) -> Iterator[tuple[list[str], MapBatch]]:
        """Batches of maps: those of the data set as they are stored, those of distractors, which have none on disk, extracted again."""
        missing = set(wanted)
        images = places.images(self.dataset) if with_pictures else None
        for ids, batch in stream_maps(places.features(self.dataset), missing, self.device, images):
            missing = missing.difference(ids)
            yield ids, batch
        if missing:
            yield from self._distractor_maps(missing, with_pictures)

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        choice = self.features.network
        network = load_from_folder(places.network(choice.name), choice.layers, choice.pooled)
        return FeatureExtractor(network, self.features.extract, self.device)

    def _distractor_maps(self, wanted: set[str], with_pictures: bool) -> Iterator[tuple[list[str], MapBatch]]:
        batches = plan_batches(places.images(self.distractors), dict.fromkeys(wanted, "distractor"))
        for loaded in load_batches(batches, settings().threads):
            yield list(loaded.plan.image_ids), fresh_maps(loaded, self._extractor, with_pictures)
