"""Feature shards: each bucket of images to shards of bounded size, with what the store has of earlier runs."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.contracts.executors.executing import Done, Place, Worker
from pipeline.contracts.executors.store import Store
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.feature_shards import FeatureBatch, feature_columns, feature_writer
from pipeline.contracts.running.disk import human_bytes, require_free_space
from pipeline.extraction.bucket_tasks import BucketTask
from pipeline.extraction.known_values import KIND, KnownValues, completed, way_of_extraction
from pipeline.extraction.planning import PlannedBatch, plan_shards
from pipeline.stage import places
from pipeline.stage.fingerprint import fingerprint
from pipeline.stage.tables import TableWriter

BYTES = {"float16": 2, "float32": 4}


@dataclass(frozen=True)
class Extracting:
    """Work: feature shards of each bucket. Torch is imported where it is opened.

    Attributes:
        dataset: for messages.
        weights: fingerprint of the network's folder.
        images, pixels: that are to be extracted, for the disk space that is needed.
    """

    dataset: str
    choice: NetworkChoice
    parameters: ExtractParameters
    weights: str
    images: int
    pixels: int
    on_gpu: bool = True

    def reads(self, _folder: Path) -> tuple[Path]:
        return (places.network(self.choice.name),)

    def open(self, place: Place) -> Worker:
        import torch

        from pipeline.extraction.inference import FeatureExtractor
        from pipeline.networks.registry import load_from_folder

        network = load_from_folder(places.network(self.choice.name), self.choice.layers, self.choice.pooled)
        extractor = FeatureExtractor(network, self.parameters, torch.device(place.device))
        needed = int(extractor.values_of(self.images, self.pixels) * BYTES[self.parameters.storage])
        if place.keeps_all:
            require_free_space(place.folder, needed, f"Extracting {self.dataset} (at most {human_bytes(needed)})")
        known = KnownValues(Store.open(), KIND, way_of_extraction(self.choice, self.parameters, self.weights))
        made_with = {"network": self.choice.name, "fingerprint": fingerprint(self.choice.model_dump(), self.parameters.model_dump(), self.weights)}
        return ShardWriter(extractor, place, known, made_with).write


class ShardWriter:
    """Writes the feature shards of buckets into a place's folder.

    Args:
        extractor: a `FeatureExtractor`.
        known: maps of earlier runs, which are taken instead of extracted, and to which the others are added.
        facts: of every shard.
    """

    def __init__(self, extractor: Any, place: Place, known: KnownValues, facts: dict[str, Any]) -> None:
        self._extractor, self._place, self._known, self._facts = extractor, place, known, facts
        parameters = extractor.parameters
        self._limit = parameters.shard_mib * 2**20 // BYTES[parameters.storage]

    def write(self, task: BucketTask) -> Done:
        """Write NAME-000.parquet, NAME-001.parquet, …"""
        files: list[str] = []
        fresh = 0
        for index, batches in enumerate(plan_shards(task.batches(), self._extractor.values, self._limit)):
            files.append(f"{task.name}-{index:03d}.parquet")
            if (self._place.folder / files[-1]).exists():  # finished by a run that died later
                self._place.advance(0, sum(len(batch.image_ids) for batch in batches))
            else:
                fresh += self._write_shard(files[-1], batches)
        return Done(files, task.images, fresh, {})

    def _write_shard(self, name: str, batches: Sequence[PlannedBatch]) -> int:
        """Returns the number of images that were extracted; one thread writes while the next batch is extracted."""
        extractor, storage = self._extractor, self._extractor.parameters.storage
        extracted = 0
        with ThreadPoolExecutor(1) as disk, feature_writer(self._place.folder / name, storage, extractor.form, **self._facts) as writer:
            written: Future[None] | None = None
            done = completed(batches, self._known, self._place.threads, lambda loaded: extractor.features(loaded).maps, extractor.at_once)
            for batch, maps, fresh in done:
                features = extractor.batch(batch, maps)
                if written is not None:
                    written.result()
                written = disk.submit(_write, writer, features, storage)
                extracted += fresh
                self._place.advance(fresh, len(batch.image_ids) - fresh)
            if written is not None:
                written.result()
        return extracted


def _write(writer: TableWriter, features: FeatureBatch, storage: str) -> None:
    writer.write(feature_columns(features, storage))
