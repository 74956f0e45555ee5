"""Stage aggregate_distractors: images to descriptors in one pass without feature maps on disk, to data/distractors/BENCHMARK."""

import argparse
import logging
from pathlib import Path

import torch

from pipeline.aggregation.describers.describer import Describer
from pipeline.aggregation.map_stream import as_tensor
from pipeline.aggregation.params import load_method
from pipeline.aggregation.sink import DescriptorSink
from pipeline.contracts.catalogue import read_catalogue, select
from pipeline.contracts.descriptors import KIND
from pipeline.contracts.disk import human_bytes, require_free_space
from pipeline.contracts.entry import run_stage
from pipeline.contracts.fingerprint import code_fingerprint, fingerprint
from pipeline.contracts.manifest import load_manifest
from pipeline.contracts.parameters import load_section
from pipeline.contracts.progress import Progress
from pipeline.contracts.scratch import ScratchStore
from pipeline.contracts.settings import settings
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.loading import load_batches
from pipeline.extraction.params import ExtractParameters, NetworkChoice
from pipeline.extraction.planning import PlannedBatch, plan_batches

log = logging.getLogger(__name__)
IMAGES_PER_SHARD = 8192


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark")
    parser.add_argument("--distractors", required=True, help="the data set")
    options = parser.parse_args(arguments)
    load_method()
    choice = load_section(NetworkChoice, "network")
    parameters = load_section(ExtractParameters, "extract")
    images, models = Path("data/images") / options.distractors, Path("data/models") / options.benchmark
    inputs = ((images, "images"), (models, "model"), (Path("data/networks") / choice.name, "network"))
    digest = fingerprint(choice.model_dump(), parameters.model_dump(), *(load_manifest(folder, kind).fingerprint for folder, kind in inputs))
    code = code_fingerprint("contracts", "imaging", "networks", "extraction", "aggregation")
    store = ScratchStore(f"distractors-{options.benchmark}", fingerprint(digest, code))
    wanted = {row.image_id: row.role for row in select(read_catalogue(images / "catalogue.parquet"), "distractor")}
    batches = plan_batches(images, wanted)
    names = _describe(options.benchmark, choice, parameters, batches, store) if batches else []
    store.publish(Path("data/distractors") / options.benchmark, names, KIND, distractors=len(wanted), dataset=options.distractors)
    log.info("data/distractors/%s: %d distractors of %s.", options.benchmark, len(wanted), options.distractors)


def _describe(benchmark: str, choice: NetworkChoice, parameters: ExtractParameters, batches: list[PlannedBatch], store: ScratchStore) -> list[str]:
    from pipeline.aggregation.describers.registry import load_describer
    from pipeline.contracts.device import choose_device, hold
    from pipeline.networks.registry import load_from_folder

    shards = _shards(batches)
    total = sum(len(batch.image_ids) for batch in batches)
    with hold(choose_device()) as device, torch.inference_mode():
        describer, _ = load_describer(Path("data/models") / benchmark, device)
        network = load_from_folder(Path("data/networks") / choice.name, choice.layers, choice.pooled)
        extractor = FeatureExtractor(network, parameters, device)
        needed = total * network.channels * 4
        log.info("Describing %d distractors on %s: about %s.", total, device, human_bytes(needed))
        require_free_space(settings().scratch, needed, f"Describing the distractors of {benchmark}")
        with Progress("distractors", total, "images") as progress:
            names = [f"distractors-{index:05d}-00000.parquet" for index in range(len(shards))]
            for index, shard in enumerate(shards):
                if store.has(names[index]):
                    progress.advance(sum(len(batch.image_ids) for batch in shard), skipped=True)
                else:
                    _write_shard(store, index, shard, extractor, describer, progress)
    return names


def _write_shard(
    store: ScratchStore, index: int, shard: list[PlannedBatch], extractor: FeatureExtractor, describer: Describer, progress: Progress
) -> None:
    with DescriptorSink(store.folder, f"distractors-{index:05d}") as sink:
        for batch in load_batches(shard, settings().threads):
            maps = [as_tensor(array, extractor.device) for array in extractor.features(batch).maps]
            sink.add(list(batch.plan.image_ids), describer.describe(maps))
            progress.advance(len(batch.plan.image_ids))


def _shards(batches: list[PlannedBatch]) -> list[list[PlannedBatch]]:
    shards: list[list[PlannedBatch]] = []
    size = IMAGES_PER_SHARD
    for batch in batches:
        if size + len(batch.image_ids) > IMAGES_PER_SHARD:
            shards.append([])
            size = 0
        shards[-1].append(batch)
        size += len(batch.image_ids)
    return shards


if __name__ == "__main__":
    run_stage(main)
