"""Which images share a batch and which batches share a shard: decided by sizes and order alone, so that every run plans the same."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.contracts.cells import Part
from pipeline.contracts.image_shards import KIND, read_sizes
from pipeline.stage.manifest import load_manifest

LARGEST_BATCH = 32


@dataclass(frozen=True)
class PlannedBatch:
    """Images of one image shard with equal role and size (and the same part, where activations are cropped).

    Attributes:
        shard: the image shard's path.
        image_ids: in the shard's order.
        width, height: pixels of every image.
        part: whose activations are kept; None for the whole image.
    """

    shard: Path
    image_ids: tuple[str, ...]
    width: int
    height: int
    part: Part | None = None


def plan_batches(folder: Path, wanted: dict[str, str]) -> list[PlannedBatch]:
    """Batches of the wanted images of data/images/DATASET (their ids and roles), in the order of the shards."""
    return [batch for path in load_manifest(folder, KIND).paths(folder) for batch in _shard_batches(path, wanted)]


def _shard_batches(path: Path, wanted: dict[str, str]) -> list[PlannedBatch]:
    groups: dict[tuple[str, int, int, Part | None], list[str]] = {}
    for image_id, width, height, part in read_sizes(path):
        if image_id in wanted:
            groups.setdefault((wanted[image_id], height, width, part), []).append(image_id)
    return [
        PlannedBatch(path, tuple(ids[first : first + LARGEST_BATCH]), width, height, part)
        for (_, height, width, part), ids in groups.items()
        for first in range(0, len(ids), LARGEST_BATCH)
    ]


def plan_shards(batches: list[PlannedBatch], values: Callable[[PlannedBatch], float], limit: int) -> list[list[PlannedBatch]]:
    """Consecutive batches gathered into shards of at most about `limit` values (one batch at least).

    Args:
        values: how many a batch gives, estimated.
    """
    shards: list[list[PlannedBatch]] = []
    size = 0.0
    for batch in batches:
        own = values(batch)
        if not shards or size + own > limit:
            shards.append([])
            size = 0.0
        shards[-1].append(batch)
        size += own
    return shards
