"""Stage resize: the photographs of one data set to image shards, catalogue and ground truth in data/images/DATASET."""

import argparse
import logging
from pathlib import Path

from pipeline.acquisition.packing import KIND as RAW
from pipeline.acquisition.params import load_dataset
from pipeline.acquisition.sources import Dataset
from pipeline.acquisition.summary import counts
from pipeline.contracts.executors.executing import Receipt, fresh_images, run_tasks
from pipeline.contracts.images.image_shards import KIND, ImageFacts
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.imaging.gathering import Gathered, gather_catalogue
from pipeline.imaging.params import ResizeParameters
from pipeline.imaging.shards import ResizeTask, Resizing, write_one_after_the_other
from pipeline.stage import places
from pipeline.stage.catalogue import write_ground_truth
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ImageError, SourceError
from pipeline.stage.fingerprint import code_fingerprint, fingerprint
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="a name under `datasets` of params.yaml")
    name = parser.parse_args(arguments).dataset
    dataset = load_dataset(name)
    parameters = load_section(ResizeParameters, "resize")
    raw = places.raw(name)
    manifest = load_manifest(raw, RAW)
    digest = fingerprint(
        parameters.effective(),
        dataset.parameters.model_dump(),
        manifest.fingerprint,
        code_fingerprint("stage", "contracts", "downloads", "acquisition", "imaging"),
    )
    store = ScratchStore(f"resize-{name}", digest)
    receipts = _write_shards(name, dataset, raw, parameters, store)
    tasks = [ResizeTask(index) for index in range(len(receipts))]
    found = gather_catalogue((store.path(task.files[1]) for task in tasks), store.path(places.CATALOGUE))
    _check(name, dataset, parameters, found)
    write_ground_truth(store.path(places.GROUND_TRUTH), dataset.ground_truth(raw, found.rows))
    names = [task.files[0] for task in tasks] + [places.CATALOGUE, places.GROUND_TRUTH]
    unreadable = len(found.unreadable)
    facts = ImageFacts(images=found.images, unreadable=unreadable, source=dataset.parameters.source, resize=parameters.effective())
    output = places.images(name)
    store.publish(output, names, KIND, facts)
    log.info("%s: %s; %d unreadable.", output, counts(found.shown()), unreadable)
    return Produced((output,), fresh_images(receipts), "images")


def _write_shards(name: str, dataset: Dataset, raw: Path, parameters: ResizeParameters, store: ScratchStore) -> list[Receipt]:
    """Write every shard; where the photographs come in parts that can be read each on its own, any executor does."""
    parts = dataset.parts(raw)
    with Progress("resize", dataset.expected(raw) or 0, "images") as progress:
        if parts is None:
            return write_one_after_the_other(dataset.photographs(raw), parameters, store, progress)
        return run_tasks(
            Resizing(name, parameters), [ResizeTask(index, reads=dataset.part_files(raw, index)) for index in range(parts)], store, progress
        )


def _check(name: str, dataset: Dataset, parameters: ResizeParameters, found: Gathered) -> None:
    """Refuse an empty data set, ids that occur twice, and more broken images than are tolerated."""
    if not found.images and dataset.images != 0:
        raise SourceError(f"datasets.{name}: no images in data/raw/{name}; look at the source with `retrieval validate {name}`")
    if found.repeated:
        raise SourceError(f"datasets.{name}: two images have the id {found.repeated[0]!r} (the second is {found.repeated[1]}); ids must be unique")
    broken = [row for row in found.unreadable if row.path not in dataset.unreadable]
    for row in broken[:20]:
        log.warning("%s: %s", row.path, row.status)
    allowed = parameters.tolerated(found.images, dataset.tolerate)
    if len(broken) > allowed:
        first = "; ".join(f"{row.path} ({row.status.removeprefix('unreadable: ')})" for row in broken[:3])
        raise ImageError(
            f"datasets.{name}: {len(broken)} of {found.images} images are unreadable, resize.tolerate allows {allowed}; "
            f"set it to {len(broken)} or take them away: {first}{'; …' if len(broken) > 3 else ''}"
        )


if __name__ == "__main__":
    run_stage(main)
