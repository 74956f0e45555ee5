"""Planned batches decoded in threads, ahead of what is computed of them."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.contracts.images.image_shards import read_images
from pipeline.contracts.running.parallel import Result, in_order
from pipeline.extraction.planning import PlannedBatch
from pipeline.imaging.images import decode
from pipeline.stage.errors import ShardError

IMAGES_AHEAD = 48
Values = list[npt.NDArray[Any]]
"""What is computed of a batch, arrays (B, …): of feature maps one per scale, of descriptors one."""


@dataclass(frozen=True)
class LoadedBatch:
    """A planned batch and its pixels (B, H, W, 3) uint8 RGB."""

    plan: PlannedBatch
    pixels: npt.NDArray[np.uint8]


def computed_pieces(
    batches: Sequence[PlannedBatch], compute: Callable[["LoadedBatch"], Result], threads: int, at_once: int | None
) -> Iterator[Result]:
    """What is computed of every piece of every batch, in their order.

    Args:
        compute: called from several threads at a time.
        at_once: images of a piece, which one thread computes; None where the caller's thread computes whole batches, on an accelerator.
    """
    pieces = [piece for batch in batches for piece in batch.pieces(at_once)]
    return in_order(compute, load_batches(pieces, threads), threads if at_once else 1)


def computed_batches(
    batches: Sequence[PlannedBatch], compute: Callable[["LoadedBatch"], Values], threads: int, at_once: int | None
) -> Iterator[Values]:
    """What is computed of every batch, put together from its pieces; see `computed_pieces`."""
    computed = computed_pieces(batches, compute, threads, at_once)
    for batch in batches:
        found = list(itertools.islice(computed, len(batch.pieces(at_once))))
        yield found[0] if len(found) == 1 else [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


def load_batches(batches: Sequence[PlannedBatch], threads: int) -> Iterator[LoadedBatch]:
    """Decode the batches in their order; about IMAGES_AHEAD images are decoded ahead of what is taken."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[PlannedBatch, list[Future[Any]]]] = deque()
        ahead = 0
        for batch, encoded in _with_bytes(batches):
            waiting.append((batch, [pool.submit(decode, data) for data in encoded]))
            ahead += len(encoded)
            while ahead > IMAGES_AHEAD and len(waiting) > 1:
                ahead -= len(waiting[0][1])
                yield _gather(*waiting.popleft())
        while waiting:
            yield _gather(*waiting.popleft())


def _with_bytes(batches: Sequence[PlannedBatch]) -> Iterator[tuple[PlannedBatch, list[bytes]]]:
    """Each batch with its images' encoded bytes; one image shard is open at a time."""
    current: Path | None = None
    stored: dict[str, bytes] = {}
    wanted = {path: {image_id for batch in batches if batch.shard == path for image_id in batch.image_ids} for path in {b.shard for b in batches}}
    for batch in batches:
        if batch.shard != current:
            current = batch.shard
            stored = {image.image_id: image.bytes for image in read_images(current, wanted[current])}
        yield batch, [stored.pop(image_id) for image_id in batch.image_ids]


def _gather(plan: PlannedBatch, futures: list[Future[Any]]) -> LoadedBatch:
    images = [future.result() for future in futures]
    expected = (plan.height, plan.width, 3)
    for image_id, image in zip(plan.image_ids, images, strict=True):
        if image.shape != expected:
            raise ShardError(f"{plan.shard}: {image_id} has {image.shape} pixels, its row says {expected}; remove the folder and run `dvc repro`")
    return LoadedBatch(plan, np.stack(images))
