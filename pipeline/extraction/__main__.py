"""Stage extract: the images of one data set to feature shards in data/features/DATASET. Distractors are left out: they never have maps on disk."""

import argparse
import logging

from pipeline.contracts.executors.executing import earlier_receipt, fresh_images, run_tasks
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.feature_shards import KIND, FeatureFacts
from pipeline.contracts.images.image_shards import KIND as IMAGES
from pipeline.contracts.images.image_shards import ImageFacts
from pipeline.contracts.running.disk import human_bytes
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.extraction.bucket_tasks import bucket_tasks
from pipeline.extraction.shards import Extracting
from pipeline.stage import places
from pipeline.stage.catalogue import ROLES
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ParameterError
from pipeline.stage.fingerprint import code_fingerprint, fingerprint
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="a name under `datasets` of params.yaml")
    name = parser.parse_args(arguments).dataset
    choice = load_section(NetworkChoice, "network")
    parameters = load_section(ExtractParameters, "extract")
    photographs = places.images(name)
    weights = load_manifest(places.network(choice.name), "network")
    source = load_manifest(photographs, IMAGES)
    made_of = (choice.model_dump(), parameters.model_dump(), source.fingerprint, weights.fingerprint)
    store = ScratchStore(
        f"extract-{name}", fingerprint(*made_of, code_fingerprint("stage", "contracts", "imaging", "networks", "patches", "extraction"))
    )
    tasks = bucket_tasks(photographs, [role for role in ROLES if role != "distractor"])
    if parameters.patch_levels and any(task.cropped for task in tasks):
        raise ParameterError("params.yaml: extract.patch_levels: patches are cut from pixels; set resize.query_crop to image, image_own_size or none")
    todo = [task for task in tasks if earlier_receipt(store.folder, task.name) is None]
    images, pixels = sum(task.images for task in todo), sum(task.pixels for task in todo)
    work = Extracting(name, choice, parameters, weights.fingerprint, images, pixels)
    with Progress("extract", sum(task.images for task in tasks), "images") as progress:
        receipts = run_tasks(work, tasks, store, progress)
    output = places.features(name)
    files = [file for receipt in receipts for file in receipt.files]
    facts = FeatureFacts(network=choice, extract=parameters, images=ImageFacts.of(source))
    manifest = store.publish(output, files, KIND, facts)
    log.info("%s: %d shards, %s.", output, len(files), human_bytes(sum(part.bytes for part in manifest.parts)))
    return Produced((output,), fresh_images(receipts), "images")


if __name__ == "__main__":
    run_stage(main)
