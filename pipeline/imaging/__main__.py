"""Stage resize: the photographs of one data set to image shards, catalogue and ground truth in data/images/DATASET."""

import argparse
import itertools
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pipeline.acquisition.params import load_dataset
from pipeline.acquisition.sources import Dataset, Photograph
from pipeline.acquisition.summary import counts
from pipeline.contracts.image_shards import KIND, ImageFacts, image_columns, image_writer
from pipeline.contracts.progress import Progress
from pipeline.contracts.scratch import ScratchStore
from pipeline.contracts.settings import settings
from pipeline.contracts.turns import processor_turn
from pipeline.imaging.params import ResizeParameters
from pipeline.imaging.preparation import prepare
from pipeline.stage import places
from pipeline.stage.catalogue import CatalogueRow, read_catalogue, write_catalogue, write_ground_truth
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ImageError, SourceError
from pipeline.stage.fingerprint import code_fingerprint, fingerprint
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced

log = logging.getLogger(__name__)
IMAGES_PER_SHARD = 128
IMAGES_PER_GROUP = 16


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="a name under `datasets` of params.yaml")
    name = parser.parse_args(arguments).dataset
    dataset = load_dataset(name)
    parameters = load_section(ResizeParameters, "resize")
    raw = places.raw(name)
    manifest = load_manifest(raw, "raw files")
    digest = fingerprint(
        parameters.effective(),
        dataset.parameters.model_dump(),
        manifest.fingerprint,
        code_fingerprint("stage", "contracts", "downloads", "acquisition", "imaging"),
    )
    store = ScratchStore(f"resize-{name}", digest)
    shards, fresh = _write_shards(dataset, raw, parameters, store)
    rows = [row for index in range(shards) for row in read_catalogue(store.path(_names(index)[1]))]
    _check(name, dataset, parameters, rows)
    write_catalogue(store.path(places.CATALOGUE), rows)
    write_ground_truth(store.path(places.GROUND_TRUTH), dataset.ground_truth(raw, rows))
    names = [_names(index)[0] for index in range(shards)] + [places.CATALOGUE, places.GROUND_TRUTH]
    unreadable = sum(not row.readable for row in rows)
    facts = ImageFacts(images=len(rows), unreadable=unreadable, source=dataset.parameters.source, resize=parameters.effective())
    output = places.images(name)
    store.publish(output, names, KIND, facts)
    log.info("%s: %s; %d unreadable.", output, counts((row.role, row.instance) for row in rows), unreadable)
    return Produced((output,), fresh, "images")


def _names(index: int) -> tuple[str, str]:
    return f"part-{index:05d}.parquet", f"catalogue-{index:05d}.parquet"


def _write_shards(dataset: Dataset, raw: Path, parameters: ResizeParameters, store: ScratchStore) -> tuple[int, int]:
    """Write shard after shard, those of an earlier run left as they are; returns their number and that of the images of this run."""
    photographs = iter(dataset.photographs(raw))
    index = 0
    with processor_turn(), ThreadPoolExecutor(settings().threads) as pool, Progress("resize", dataset.expected(raw) or 0, "images") as progress:
        for index in itertools.count():
            shard = list(itertools.islice(photographs, IMAGES_PER_SHARD))
            if not shard:
                return index, progress.fresh
            if not store.has(*_names(index)):
                _write_shard(shard, parameters, store, index, pool)
                progress.advance(len(shard))
            else:
                progress.advance(len(shard), skipped=True)
    raise AssertionError("the loop above ends by returning")


def _write_shard(shard: list[Photograph], parameters: ResizeParameters, store: ScratchStore, index: int, pool: ThreadPoolExecutor) -> None:
    images, catalogue = (store.path(name) for name in _names(index))
    rows: list[CatalogueRow] = []
    with image_writer(images) as writer:
        for group in _grouped(shard):
            prepared = list(pool.map(partial(prepare, parameters=parameters), group))
            rows += [row for row, _ in prepared]
            stored = [image for _, image in prepared if image is not None]
            if stored:
                writer.write(image_columns(stored))
    write_catalogue(catalogue, rows)


def _grouped(shard: list[Photograph]) -> Iterator[list[Photograph]]:
    for first in range(0, len(shard), IMAGES_PER_GROUP):
        yield shard[first : first + IMAGES_PER_GROUP]


def _check(name: str, dataset: Dataset, parameters: ResizeParameters, rows: list[CatalogueRow]) -> None:
    """Refuse an empty data set, ids that occur twice, and more broken images than are tolerated."""
    if not rows and dataset.images != 0:
        raise SourceError(f"datasets.{name}: no images in data/raw/{name}; look at the source with `retrieval validate {name}`")
    seen: set[str] = set()
    for row in rows:
        if row.image_id in seen:
            raise SourceError(f"datasets.{name}: two images have the id {row.image_id!r} (the second is {row.path}); ids must be unique")
        seen.add(row.image_id)
    broken = [row for row in rows if not row.readable and row.path not in dataset.unreadable]
    for row in broken[:20]:
        log.warning("%s: %s", row.path, row.status)
    allowed = parameters.tolerated(len(rows), dataset.tolerate)
    if len(broken) > allowed:
        first = "; ".join(f"{row.path} ({row.status.removeprefix('unreadable: ')})" for row in broken[:3])
        raise ImageError(
            f"datasets.{name}: {len(broken)} of {len(rows)} images are unreadable, resize.tolerate allows {allowed}; "
            f"set it to {len(broken)} or take them away: {first}{'; …' if len(broken) > 3 else ''}"
        )


if __name__ == "__main__":
    run_stage(main)
