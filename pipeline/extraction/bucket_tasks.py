"""The images of a data set that have some roles, as one task for each bucket."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pipeline.contracts.images.image_shards import KIND, read_sizes
from pipeline.extraction.planning import PlannedBatch, role_batches
from pipeline.stage.manifest import load_manifest


@dataclass(frozen=True)
class BucketTask:
    """The images of one bucket. Its batches are planned where they are worked on, so that a stage holds nothing of each image.

    Attributes:
        shard: of images.
        roles: of the images that are wanted.
        images, pixels: how many these have.
        cropped: whether activations of some of them are to be cropped to a part.
    """

    shard: Path
    roles: frozenset[str]
    images: int
    pixels: int
    cropped: bool

    @property
    def name(self) -> str:
        return self.shard.stem

    @property
    def reads(self) -> tuple[Path]:
        return (self.shard,)

    def batches(self) -> list[PlannedBatch]:
        return role_batches(self.shard, self.roles)


def bucket_tasks(folder: Path, roles: Collection[str]) -> list[BucketTask]:
    """A task for each bucket of data/images/DATASET that has readable images of some roles."""
    tasks = []
    for path in load_manifest(folder, KIND).paths(folder):
        own = [image for image in read_sizes(path) if image.role in roles]
        if own:
            pixels, cropped = sum(image.width * image.height for image in own), any(image.part and not image.part.centred for image in own)
            tasks.append(BucketTask(path, frozenset(roles), len(own), pixels, cropped))
    return tasks
