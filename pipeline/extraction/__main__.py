"""Stage extract: the images of one data set to feature shards in data/features/DATASET. Distractors are left out: they never have maps on disk."""

import argparse
import logging
from contextlib import ExitStack

from pipeline.contracts.disk import human_bytes, require_free_space
from pipeline.contracts.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.feature_shards import KIND, FeatureFacts
from pipeline.contracts.image_shards import KIND as IMAGES
from pipeline.contracts.image_shards import ImageFacts
from pipeline.contracts.scratch import ScratchStore
from pipeline.contracts.settings import settings
from pipeline.contracts.store import Store
from pipeline.extraction.known_values import KIND as MAPS
from pipeline.extraction.known_values import KnownValues, way_of_extraction
from pipeline.extraction.planning import PlannedBatch, plan_batches, plan_shards
from pipeline.stage import places
from pipeline.stage.catalogue import read_catalogue
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
    images = places.images(name)
    weights = load_manifest(places.network(choice.name), "network")
    source = load_manifest(images, IMAGES)
    made_of = (choice.model_dump(), parameters.model_dump(), source.fingerprint, weights.fingerprint)
    store = ScratchStore(
        f"extract-{name}", fingerprint(*made_of, code_fingerprint("stage", "contracts", "imaging", "networks", "patches", "extraction"))
    )
    rows = read_catalogue(images / places.CATALOGUE)
    batches = plan_batches(images, {row.image_id: row.role for row in rows if row.readable and row.role != "distractor"})
    if parameters.patch_levels and any(batch.part and not batch.part.centred for batch in batches):
        raise ParameterError("params.yaml: extract.patch_levels: patches are cut from pixels; set resize.query_crop to image, image_own_size or none")
    facts = FeatureFacts(network=choice, extract=parameters, images=ImageFacts.of(source))
    known = KnownValues(Store.open(), MAPS, way_of_extraction(choice, parameters, weights.fingerprint))
    names, fresh = _extract(name, choice, parameters, batches, store, known, fingerprint(*made_of)) if batches else ([], 0)
    output = places.features(name)
    manifest = store.publish(output, names, KIND, facts)
    log.info("%s: %d shards, %s.", output, len(names), human_bytes(sum(part.bytes for part in manifest.parts)))
    return Produced((output,), fresh, "images")


def _extract(
    name: str,
    choice: NetworkChoice,
    parameters: ExtractParameters,
    batches: list[PlannedBatch],
    store: ScratchStore,
    known: KnownValues,
    made_of: str,
) -> tuple[list[str], int]:
    """Write the shards; returns their names and the number of images of this run. Torch is imported here, so that an empty data set costs nothing."""
    from pipeline.contracts.device import hold, visible_devices
    from pipeline.extraction.inference import FeatureExtractor
    from pipeline.extraction.shards import shard_name, write_shards
    from pipeline.networks.registry import load_from_folder

    devices = visible_devices()
    with ExitStack() as held:
        for device in devices:
            held.enter_context(hold(device))
        folder = places.network(choice.name)
        extractors = [FeatureExtractor(load_from_folder(folder, choice.layers, choice.pooled), parameters, device) for device in devices]
        values = extractors[0].values
        bytes_per_value = {"float16": 2, "float32": 4}[parameters.storage]
        plan = plan_shards(batches, values, parameters.shard_mib * 2**20 // bytes_per_value)
        names = [shard_name(index) for index in range(len(plan))]
        needed = int(sum(values(batch) for index, shard in enumerate(plan) if not store.has(names[index]) for batch in shard) * bytes_per_value)
        log.info("Extracting %s on %s: at most %s in %d shards.", name, ", ".join(map(str, devices)), human_bytes(needed), len(plan))
        require_free_space(settings().scratch, needed, f"Extracting {name}")
        fresh = write_shards(plan, extractors, store, settings().threads, known, network=choice.name, fingerprint=made_of)
    return names, fresh


if __name__ == "__main__":
    run_stage(main)
