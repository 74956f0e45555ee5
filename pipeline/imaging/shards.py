"""Image shards: each bucket of photographs to one shard and its part of the catalogue."""

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.acquisition.params import load_dataset
from pipeline.acquisition.sources import Photograph
from pipeline.contracts.executors.executing import Done, Place, Receipt, Worker, earlier_receipt, finish, told
from pipeline.contracts.executors.store import Store
from pipeline.contracts.images.image_shards import image_columns, image_writer
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.contracts.running.settings import settings
from pipeline.contracts.running.turns import processor_turn
from pipeline.imaging.known_images import KnownImages
from pipeline.imaging.params import ResizeParameters
from pipeline.imaging.preparation import prepare
from pipeline.stage import places
from pipeline.stage.catalogue import CatalogueRow, write_catalogue

IMAGES_PER_SHARD = 128
"""Where photographs only come one after the other."""
IMAGES_PER_GROUP = 16


@dataclass(frozen=True)
class ResizeTask:
    """One shard.

    Attributes:
        reads: files of data/raw/DATASET.
    """

    index: int
    images: int = 0
    reads: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        return f"part-{self.index:05d}"

    @property
    def files(self) -> tuple[str, str]:
        """Of the images and of the rows."""
        return f"{self.name}.parquet", f"catalogue-{self.index:05d}.parquet"


@dataclass(frozen=True)
class Resizing:
    """Work: the photographs of each part of data/raw/DATASET."""

    dataset: str
    parameters: ResizeParameters
    on_gpu: bool = False

    def reads(self, _folder: Path) -> tuple[Path, ...]:
        return ()

    def open(self, place: Place) -> Worker:
        dataset, raw, writer = load_dataset(self.dataset), places.raw(self.dataset), ShardWriter(self.parameters, place)
        return lambda task: writer.write(task, dataset.part(raw, task.index))


class ShardWriter:
    """Photographs to shards in a place's folder."""

    def __init__(self, parameters: ResizeParameters, place: Place) -> None:
        self._place, self._known = place, KnownImages(Store.open(), parameters)
        self._pool = ThreadPoolExecutor(place.threads)
        self._prepare = partial(prepare, parameters=parameters)

    def write(self, task: ResizeTask, photographs: Iterable[Photograph]) -> Done:
        """Write one shard and its rows."""
        images, catalogue = (self._place.folder / name for name in task.files)
        rows: list[CatalogueRow] = []
        fresh = 0
        with image_writer(images) as writer:
            for group in _grouped(photographs):
                prepared, computed = self._known.prepared(group, partial(self._pool.map, self._prepare))
                rows += [row for row, _ in prepared]
                stored = [image for _, image in prepared if image is not None]
                if stored:
                    writer.write(image_columns(stored))
                self._place.advance(computed, len(group) - computed)
                fresh += computed
        write_catalogue(catalogue, rows)
        return Done(list(task.files), len(rows), fresh, {})


def write_one_after_the_other(
    photographs: Iterator[Photograph], parameters: ResizeParameters, store: ScratchStore, progress: Progress
) -> list[Receipt]:
    """Write shard after shard of photographs that only come in their order; those of an earlier run are left as they are."""
    receipts: list[Receipt] = []
    with processor_turn():
        writer = ShardWriter(parameters, Place(store.folder, "cpu", settings().threads, told(progress)))
        for index in itertools.count():
            shard = list(itertools.islice(photographs, IMAGES_PER_SHARD))
            if not shard:
                return receipts
            task = ResizeTask(index, len(shard))
            if receipt := earlier_receipt(store.folder, task.name):
                progress.advance(len(shard), skipped=True)
            else:
                receipt = finish(lambda own, some=shard: writer.write(own, some), task, store.folder)  # type: ignore[misc]
            receipts.append(receipt)
    raise AssertionError("the loop above ends by returning")


def _grouped(photographs: Iterable[Photograph]) -> Iterator[list[Photograph]]:
    waiting = iter(photographs)
    while group := list(itertools.islice(waiting, IMAGES_PER_GROUP)):
        yield group
