"""Writing feature shards: one worker per device takes planned shards, and those of an earlier run are left as they are."""

import queue
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pipeline.contracts.feature_shards import FeatureBatch, feature_columns, feature_writer
from pipeline.contracts.progress import Progress
from pipeline.contracts.scratch import ScratchStore
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.known_values import NOTHING, KnownValues, completed
from pipeline.extraction.planning import PlannedBatch
from pipeline.stage.tables import TableWriter


def shard_name(index: int) -> str:
    return f"part-{index:05d}.parquet"


def write_shards(
    plan: Sequence[Sequence[PlannedBatch]],
    extractors: Sequence[FeatureExtractor],
    store: ScratchStore,
    threads: int,
    known: KnownValues = NOTHING,
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
    known: KnownValues,
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
            for batch, maps, fresh in completed(plan[index], known, threads, lambda loaded: extractor.features(loaded).maps):
                features = extractor.batch(batch, maps)
                if written is not None:
                    written.result()
                written = disk.submit(_write, writer, features, storage)
                progress.advance(len(batch.image_ids) - fresh, skipped=True)
                progress.advance(fresh)
            if written is not None:
                written.result()


def _write(writer: TableWriter, features: FeatureBatch, storage: str) -> None:
    writer.write(feature_columns(features, storage))
