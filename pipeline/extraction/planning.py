"""Which images share a batch and which batches share a shard: decided by sizes and order alone, so that every run plans the same."""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.contracts.images.cells import Part
from pipeline.contracts.images.image_shards import KIND, ImageSize, read_sizes
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
        digests: SHA-256 of the images' bytes.
    """

    shard: Path
    image_ids: tuple[str, ...]
    width: int
    height: int
    part: Part | None = None
    digests: tuple[bytes, ...] = ()

    def only(self, places: list[int]) -> "PlannedBatch":
        """The images at some places."""
        ids, digests = tuple(self.image_ids[place] for place in places), tuple(self.digests[place] for place in places if self.digests)
        return replace(self, image_ids=ids, digests=digests)

    def pieces(self, size: int | None) -> list["PlannedBatch"]:
        """Batches of at most `size` of its images each, in their order; itself where it is None."""
        if size is None:
            return [self]
        places = list(range(len(self.image_ids)))
        return [self.only(places[first : first + size]) for first in range(0, len(places), size)]


def plan_batches(folder: Path, wanted: Container[str]) -> list[PlannedBatch]:
    """Batches of the wanted images of data/images/DATASET, by their ids, in the order of the shards."""
    return [batch for path in load_manifest(folder, KIND).paths(folder) for batch in shard_batches(path, wanted)]


def shard_batches(path: Path, wanted: Container[str]) -> list[PlannedBatch]:
    """Batches of the wanted images of one shard; see `plan_batches`."""
    return _batches(path, (image for image in read_sizes(path) if image.image_id in wanted))


def role_batches(path: Path, roles: Container[str]) -> list[PlannedBatch]:
    """Batches of the images of one shard that have some roles."""
    return _batches(path, (image for image in read_sizes(path) if image.role in roles))


def _batches(path: Path, images: Iterable[ImageSize]) -> list[PlannedBatch]:
    groups: dict[tuple[str, int, int, Part | None], list[ImageSize]] = {}
    for image in images:
        groups.setdefault((image.role, image.height, image.width, image.part), []).append(image)
    some = (
        (group[first : first + LARGEST_BATCH], width, height, part)
        for (_, height, width, part), group in groups.items()
        for first in range(0, len(group), LARGEST_BATCH)
    )
    return [
        PlannedBatch(path, tuple(each.image_id for each in own), width, height, part, tuple(each.digest for each in own))
        for own, width, height, part in some
    ]


def plan_shards(batches: Sequence[PlannedBatch], values: Callable[[PlannedBatch], float], limit: int) -> list[list[PlannedBatch]]:
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
