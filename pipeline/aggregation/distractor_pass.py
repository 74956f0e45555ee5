"""Describing distractors bucket by bucket, straight from pixels to descriptors. Torch is imported where the work is opened."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.aggregation.params import refuse_unreadable_features
from pipeline.contracts.executors.executing import Done, Place, Worker
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.storage import STORED, Storage
from pipeline.contracts.running.disk import human_bytes, require_free_space
from pipeline.extraction.bucket_tasks import BucketTask
from pipeline.extraction.known_values import NOTHING, KnownValues, completed
from pipeline.extraction.loading import LoadedBatch, Values
from pipeline.extraction.planning import PlannedBatch
from pipeline.stage import places

log = logging.getLogger(__name__)
WORTH_ESTIMATING = 1000
"""Images from which on the time is estimated before the work."""


@dataclass(frozen=True)
class DescribingDistractors:
    """Work: descriptors by a benchmark's model.

    The maps pass through the stored type, so that the descriptors are those that feature shards would give.

    Attributes:
        storage: of the descriptors.
        images: of all tasks, for the disk space that is needed.
    """

    benchmark: str
    choice: NetworkChoice
    parameters: ExtractParameters
    storage: Storage
    images: int
    on_gpu: bool = True

    def reads(self, _folder: Path) -> tuple[Path, ...]:
        return places.models(self.benchmark), places.network(self.choice.name)

    def open(self, place: Place) -> Worker:
        import torch

        from pipeline.aggregation.describers.registry import load_describer
        from pipeline.aggregation.known_descriptors import known_descriptors
        from pipeline.extraction.inference import FeatureExtractor
        from pipeline.networks.registry import load_from_folder

        device = torch.device(place.device)
        describer, _ = load_describer(places.models(self.benchmark), device)
        refuse_unreadable_features(describer.method, describer.parameters, self.parameters.patch_levels, self.choice.layers)
        network = load_from_folder(places.network(self.choice.name), self.choice.layers, self.choice.pooled)
        patches = describer.patches("distractors", self.parameters.patch_levels)
        dimensions, codes = describer.dimensions(network.channels * len(self.parameters.patch_sides)), describer.product_codes
        needed = self.images * (patches or 1) * (codes.bytes if codes else dimensions * STORED[self.storage].itemsize)
        if place.keeps_all:
            require_free_space(place.folder, needed, f"Describing the distractors of {self.benchmark}")
        log.info("Describing %d distractors on %s: %s of descriptors.", self.images, device, human_bytes(needed))
        known = known_descriptors(self.benchmark, self.choice, self.parameters, patches)
        return DistractorDescriber(FeatureExtractor(network, self.parameters, device), describer, self, known, place).describe


class DistractorDescriber:
    """Writes the descriptors of buckets into a place's folder.

    Args:
        extractor, describer: a `FeatureExtractor` and a `Describer`.
    """

    def __init__(self, extractor: Any, describer: Any, work: DescribingDistractors, known: KnownValues, place: Place) -> None:
        self._extractor, self._describer, self._known, self._place = extractor, describer, known, place
        self._storage, self._images = work.storage, work.images
        self._worth_estimating = work.images >= WORTH_ESTIMATING

    def describe(self, task: BucketTask) -> Done:
        """Write distractors-00000.parquet."""
        from pipeline.aggregation.sink import DescriptorSink

        batches = task.batches()
        if self._worth_estimating:
            self._worth_estimating = False
            each = self._seconds_per_pixel(batches[:2]) * task.pixels / task.images
            log.info("This will take about %.1f hours, less what is known.", each * self._images / 3600)
        name = f"distractors-{task.name.removeprefix('part-')}.parquet"
        computed = 0
        with DescriptorSink(self._place.folder / name, self._describer.product_codes or self._storage) as sink:
            for batch, (vectors,), fresh in self._completed(batches, self._known):
                sink.add(list(batch.image_ids), vectors)
                computed += fresh
                self._place.advance(fresh, len(batch.image_ids) - fresh)
        return Done([name], task.images, computed, {"rounding": sink.rounding})

    def _seconds_per_pixel(self, batches: Sequence[PlannedBatch]) -> float:
        """Of the last of some batches, all of whose images are computed; the first warms up."""
        seconds = 0.0
        for batch in batches:
            started = time.monotonic()
            list(self._completed([batch], NOTHING))
            seconds = time.monotonic() - started
        return seconds / (len(batches[-1].image_ids) * batches[-1].width * batches[-1].height)

    def _completed(self, batches: Sequence[PlannedBatch], known: KnownValues) -> Iterator[tuple[PlannedBatch, Values, int]]:
        return completed(batches, known, self._place.threads, self._described, self._extractor.at_once)

    def _described(self, batch: LoadedBatch) -> Values:
        import torch

        from pipeline.maps.fresh import fresh_maps

        with torch.inference_mode():
            own = fresh_maps(batch, self._extractor, self._describer.parameters.needs_pictures)
            kept = self._describer.patches("distractors", own.patches.levels if own.patches else 0)
            vectors = self._describer.describe_each(own).cpu()
            return [(vectors if kept is None else vectors[:, :kept]).numpy()]
