"""Stage aggregate_distractors: images to descriptors in one pass without feature maps on disk, to data/distractors/BENCHMARK."""

import argparse
import logging

from pipeline.aggregation.distractor_pass import DescribingDistractors
from pipeline.aggregation.params import load_storage
from pipeline.contracts.benchmarks import load_benchmark
from pipeline.contracts.descriptors import DISTRACTORS as KIND
from pipeline.contracts.descriptors import DistractorFacts
from pipeline.contracts.executors.executing import fresh_images, run_tasks
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.held_out import HeldOutSet, LearnedOn, TrainedOn, refuse_leakage_to_distractors
from pipeline.contracts.images.image_shards import KIND as IMAGES
from pipeline.contracts.models import KIND as MODEL
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.extraction.bucket_tasks import bucket_tasks
from pipeline.stage import places
from pipeline.stage.entry import run_stage
from pipeline.stage.fingerprint import code_fingerprint, fingerprint
from pipeline.stage.manifest import CARD, load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import read_json

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `benchmarks` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    sets = load_benchmark(benchmark, "distractors", "allow_self_learning")
    choice = load_section(NetworkChoice, "network")
    parameters = load_section(ExtractParameters, "extract")
    images, models = places.images(sets.distractors), places.models(benchmark)
    inputs = ((images, IMAGES), (models, MODEL), (places.network(choice.name), "network"))
    storage = load_storage()
    digest = fingerprint(choice.model_dump(), parameters.model_dump(), storage, *(load_manifest(folder, kind).fingerprint for folder, kind in inputs))
    code = code_fingerprint("stage", "contracts", "imaging", "networks", "patches", "extraction", "projections", "maps", "aggregation")
    store = ScratchStore(f"distractors-{benchmark}", fingerprint(digest, code))
    tasks = bucket_tasks(images, ["distractor"]) or bucket_tasks(images, ["database"])
    (role,) = tasks[0].roles if tasks else ("distractor",)
    count = sum(task.images for task in tasks)
    card = read_json(models / CARD)
    trained_on: list[HeldOutSet | TrainedOn] = [TrainedOn.model_validate(step) for step in card["network_trained_on"]]
    for learned_on in (*([LearnedOn.model_validate(card["learned_on"])] if card["learned_on"] else []), *trained_on):
        refuse_leakage_to_distractors(benchmark, sets.distractors, role, learned_on, sets.allow_self_learning)
    with Progress("distractors", count, "images") as progress:
        receipts = run_tasks(DescribingDistractors(benchmark, choice, parameters, storage, count), tasks, store, progress)
    files = [file for receipt in receipts for file in receipt.files]
    output = places.distractors(benchmark)
    rounding = max((receipt.facts["rounding"] for receipt in receipts), default=0.0)
    facts = DistractorFacts(distractors=count, dataset=sets.distractors, role=role, storage=storage, rounding=rounding)
    store.publish(output, files, KIND, facts)
    log.info("%s: %d distractors of %s.", output, count, sets.distractors)
    return Produced((output,), fresh_images(receipts), "images")


if __name__ == "__main__":
    run_stage(main)
