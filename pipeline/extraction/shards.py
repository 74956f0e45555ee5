"""Writing feature shards: one worker per device takes planned shards, and those of an earlier run are left as they are."""

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from pipeline.contracts.feature_shards import FeatureBatch, feature_columns, feature_writer
from pipeline.contracts.progress import Progress
from pipeline.contracts.scratch import ScratchStore
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.known_maps import KnownMaps, keys_of
from pipeline.extraction.loading import load_batches
from pipeline.extraction.planning import PlannedBatch
from pipeline.stage.tables import TableWriter


def shard_name(index: int) -> str:
    return f"part-{index:05d}.parquet"


def write_shards(
    plan: Sequence[Sequence[PlannedBatch]],
    extractors: Sequence[FeatureExtractor],
    store: ScratchStore,
    threads: int,
    known: KnownMaps | None = None,
    **facts: Any,
) -> int:
    """Extract every planned shard that the scratch store does not hold yet; the same bytes from any number of extractors.

    Args:
        known: maps of earlier runs, which are taken instead of extracted, and to which the others are added.

    Returns:
        The number of images extracted in this run.
    """
    total = sum(len(batch.image_ids) for shard in plan for batch in shard)
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    with Progress("extract", total, "images") as progress:
        for index, shard in enumerate(plan):
            if store.has(shard_name(index)):
                progress.advance(sum(len(batch.image_ids) for batch in shard), skipped=True)
            else:
                todo.put(index)
        if len(extractors) == 1:
            _work(extractors[0], plan, todo, store, threads, progress, known, facts)
            return progress.fresh
        with ThreadPoolExecutor(len(extractors)) as pool:
            workers = [
                pool.submit(_work, extractor, plan, todo, store, max(1, threads // len(extractors)), progress, known, facts)
                for extractor in extractors
            ]
            for worker in workers:
                worker.result()
        return progress.fresh


def _work(
    extractor: FeatureExtractor,
    plan: Sequence[Sequence[PlannedBatch]],
    todo: "queue.SimpleQueue[int]",
    store: ScratchStore,
    threads: int,
    progress: Progress,
    known: KnownMaps | None,
    facts: dict[str, Any],
) -> None:
    while True:
        try:
            index = todo.get_nowait()
        except queue.Empty:
            return
        storage = extractor.parameters.storage
        with ThreadPoolExecutor(1) as disk, feature_writer(store.path(shard_name(index)), storage, extractor.form, **facts) as writer:
            written: Future[None] | None = None
            for features in _features(extractor, plan[index], threads, progress, known):
                if written is not None:
                    written.result()
                written = disk.submit(_write, writer, features, storage)
            if written is not None:
                written.result()


def _features(
    extractor: FeatureExtractor, batches: Sequence[PlannedBatch], threads: int, progress: Progress, known: KnownMaps | None
) -> Iterator[FeatureBatch]:
    """The features of every batch: known ones are taken, the others are extracted."""
    if known is None:
        for loaded in load_batches(batches, threads):
            yield extractor.features(loaded)
            progress.advance(len(loaded.plan.image_ids))
        return
    found = known.read(batches)
    places = [[place for place, key in enumerate(keys_of(batch, known.way)) if key not in found] for batch in batches]
    fresh = load_batches([batch.only(own) for batch, own in zip(batches, places, strict=True) if own], threads)
    for batch, own in zip(batches, places, strict=True):
        maps = [found.get(key, []) for key in keys_of(batch, known.way)]
        if own:
            loaded = next(fresh)
            extracted = extractor.features(loaded).maps
            known.write(loaded.plan, extracted)
            for row, place in enumerate(own):
                maps[place] = [scale[row] for scale in extracted]
        yield extractor.batch(batch, [np.stack(scale) for scale in zip(*maps, strict=True)])
        progress.advance(len(batch.image_ids) - len(own), skipped=True)
        progress.advance(len(own))


def _write(writer: TableWriter, features: FeatureBatch, storage: str) -> None:
    writer.write(feature_columns(features, storage))
