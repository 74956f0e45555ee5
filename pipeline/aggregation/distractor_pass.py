"""Describing distractors image by image batch, straight from pixels to descriptors."""

import logging
import time
from collections.abc import Sequence

import torch

from pipeline.aggregation.describers.describer import Describer
from pipeline.aggregation.describers.registry import load_describer
from pipeline.aggregation.known_descriptors import known_descriptors
from pipeline.aggregation.params import refuse_unreadable_features
from pipeline.aggregation.sink import DescriptorSink
from pipeline.contracts.device import choose_device, hold
from pipeline.contracts.disk import human_bytes, require_free_space
from pipeline.contracts.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.progress import Progress
from pipeline.contracts.scratch import ScratchStore
from pipeline.contracts.settings import settings
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.known_values import KnownValues, Values, completed
from pipeline.extraction.loading import LoadedBatch, load_batches
from pipeline.extraction.planning import PlannedBatch
from pipeline.maps.fresh import fresh_maps
from pipeline.networks.registry import load_from_folder
from pipeline.stage import places

log = logging.getLogger(__name__)
WORTH_ESTIMATING = 1000
"""Images from which on the time is estimated before the work."""


def describe_shards(
    benchmark: str, choice: NetworkChoice, parameters: ExtractParameters, shards: Sequence[Sequence[PlannedBatch]], store: ScratchStore
) -> tuple[list[str], int]:
    """Describe every planned shard that the store does not hold yet; returns the files' names and the number of images of this run.

    The maps pass through the stored type, so that the descriptors are those that feature shards would give.
    """
    total = sum(len(batch.image_ids) for shard in shards for batch in shard)
    names = [f"distractors-{index:05d}-00000.parquet" for index in range(len(shards))]
    with hold(choose_device()) as device, torch.inference_mode():
        describer, _ = load_describer(places.models(benchmark), device)
        network = load_from_folder(places.network(choice.name), choice.layers, choice.pooled)
        extractor = FeatureExtractor(network, parameters, device)
        known = known_descriptors(benchmark, choice, parameters)
        refuse_unreadable_features(describer.method, describer.parameters, parameters.patch_levels)
        needed = (
            total
            * describer.dimensions(network.channels * len(parameters.patch_sides))
            * (describer.patches("distractors", parameters.patch_levels) or 1)
            * 4
        )
        log.info("Describing %d distractors on %s: %s of descriptors.", total, device, human_bytes(needed))
        require_free_space(settings().scratch, needed, f"Describing the distractors of {benchmark}")
        todo = [batch for name, shard in zip(names, shards, strict=True) if not store.has(name) for batch in shard]
        if sum(len(batch.image_ids) for batch in todo) >= WORTH_ESTIMATING:
            log.info("This will take about %.1f hours.", _estimate(todo, extractor, describer) / 3600)
        with Progress("distractors", total, "images") as progress:
            for index, shard in enumerate(shards):
                if store.has(names[index]):
                    progress.advance(sum(len(batch.image_ids) for batch in shard), skipped=True)
                else:
                    _describe_shard(store, index, shard, extractor, describer, known, progress)
    return names, progress.fresh


def _estimate(batches: Sequence[PlannedBatch], extractor: FeatureExtractor, describer: Describer) -> float:
    """Seconds for all batches from the time of the second, in proportion to their pixels; the first warms up."""
    started = 0.0
    for loaded in list(load_batches(batches[:2], settings().threads)):
        started = time.monotonic()
        _describe_batch(loaded, extractor, describer)
    pixels = [len(batch.image_ids) * batch.width * batch.height for batch in batches]
    return (time.monotonic() - started) * sum(pixels) / pixels[:2][-1]


def _describe_shard(
    store: ScratchStore,
    index: int,
    shard: Sequence[PlannedBatch],
    extractor: FeatureExtractor,
    describer: Describer,
    known: KnownValues,
    progress: Progress,
) -> None:
    def described(loaded: LoadedBatch) -> Values:
        return [_describe_batch(loaded, extractor, describer).numpy()]

    with DescriptorSink(store.folder, f"distractors-{index:05d}", split=False) as sink:
        for batch, (vectors,), fresh in completed(shard, known, settings().threads, described):
            sink.add(list(batch.image_ids), torch.from_numpy(vectors))
            progress.advance(len(batch.image_ids) - fresh, skipped=True)
            progress.advance(fresh)


def _describe_batch(batch: LoadedBatch, extractor: FeatureExtractor, describer: Describer) -> torch.Tensor:
    own = fresh_maps(batch, extractor, describer.parameters.needs_pictures)
    kept = describer.patches("distractors", own.patches.levels if own.patches else 0)
    vectors = describer.describe_each(own).cpu()
    return vectors if kept is None else vectors[:, :kept]
