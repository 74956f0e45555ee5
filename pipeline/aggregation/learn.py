"""Stage learn: what the active method learns on the held-out set, to data/models/BENCHMARK."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from pipeline.aggregation.params import MethodParameters, load_method, refuse_unreadable_features
from pipeline.contracts.benchmarks import load_benchmark
from pipeline.contracts.executors.store import Store, digest_of, machine
from pipeline.contracts.features.feature_shards import KIND, FeatureFacts
from pipeline.contracts.held_out import LearnedOn, learned_and_kept_back, refuse_leakage, refuse_trained_network
from pipeline.contracts.models import KIND as MODEL
from pipeline.contracts.models import TENSORS, ModelFacts, State, save_model
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.networks.overlaps import known_overlaps
from pipeline.networks.training_sets import learned_from, trained_on
from pipeline.stage import places
from pipeline.stage.catalogue import read_catalogue
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ModelError
from pipeline.stage.fingerprint import code_fingerprint, fingerprint
from pipeline.stage.manifest import CARD, load_manifest
from pipeline.stage.parameters import read_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import read_json, replacing, write_json

log = logging.getLogger(__name__)
MODELS = "models"
"""Kind of entries in the store."""


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `benchmarks` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    sets = load_benchmark(benchmark, "dataset", "held_out", "kept_back", "allow_self_learning")
    method, parameters = load_method()
    rows = read_catalogue(places.images(sets.held_out) / places.CATALOGUE)
    ids, _, role = learned_and_kept_back(rows, sets.kept_back)
    manifest = load_manifest(places.features(sets.held_out), KIND)
    facts = FeatureFacts.of(manifest)
    refuse_unreadable_features(method, parameters, facts.extract.patch_levels, facts.network.layers)
    network = places.network(facts.network.name)
    network_card = read_json(network / places.NETWORK_CARD)
    tuned_on = refuse_trained_network(benchmark, sets.dataset, network_card, sets.allow_self_learning)
    source = str(read_section(f"datasets.{sets.dataset}.source"))
    overlaps = known_overlaps(trained_on(network_card), source)
    if parameters.learns:
        overlaps += known_overlaps(learned_from(facts.images.source, role), source, "method")
    for overlap in overlaps:
        log.warning("%s: %s.", benchmark, overlap.warning)
    weights = load_manifest(network, "network")
    learned_on: LearnedOn | None = None
    if parameters.learns:
        refuse_leakage(benchmark, sets.dataset, sets.held_out, role, sets.allow_self_learning)
        if not ids:
            raise ModelError(f"benchmarks.{benchmark}.held_out: {sets.held_out} has no images, and aggregate.{method} learns from some")
        learned_on = LearnedOn(dataset=sets.held_out, role=role, images=len(ids), fingerprint=manifest.fingerprint)
    instances = {row.image_id: row.instance for row in rows if row.image_id in ids}
    made_of = (method, parameters.model_dump(), manifest.fingerprint, weights.fingerprint)
    store = ScratchStore(f"learn-{benchmark}", fingerprint(*made_of, sorted(ids)))
    key = digest_of(*made_of, sorted(instances.items()), code_fingerprint("contracts", "aggregation", "maps", "projections"), machine())
    about = {
        "learned_on": learned_on and learned_on.model_dump(),
        "network_trained_on": [step.model_dump() for step in tuned_on],
        "network_overlaps": [overlap.model_dump() for overlap in overlaps],
    }
    learns = parameters.learns or parameters.adopts
    if not (learns and _taken_from_store(key, store.folder, about)):
        tensors, card = _learned(method, parameters, sets.held_out, instances, facts)
        save_model(store.folder, tensors, card | about)
        if learns:
            Store.open().write(MODELS, {key: (store.folder / TENSORS).read_bytes(), _card_key(key): (store.folder / CARD).read_bytes()})
    output = places.models(benchmark)
    store.publish(output, [TENSORS, CARD], MODEL, ModelFacts(method=method))
    log.info("%s: %s, learned on %s.", output, method, f"{len(ids)} images of {sets.held_out}" if learned_on else "nothing")
    return Produced((output,), len(ids) if learned_on else 0, "images")


def _taken_from_store(key: bytes, folder: Path, about: dict[str, Any]) -> bool:
    """Write the model that another benchmark learned of the same, where there is one; `about` is this benchmark's part of the card."""
    found = Store.open().read(MODELS, [key, _card_key(key)])
    if len(found) < 2:
        return False
    with replacing(folder / TENSORS) as partial:
        partial.write_bytes(found[key])
    write_json(folder / CARD, json.loads(found[_card_key(key)]) | about)
    log.info("Learned before of the same images.")
    return True


def _card_key(key: bytes) -> bytes:
    return digest_of(key.hex(), "card")


def _learned(method: str, parameters: MethodParameters, held_out: str, instances: dict[str, str | None], facts: FeatureFacts) -> State:
    """What the method learns and takes over; torch is imported only where it does either."""
    if not (parameters.learns or parameters.adopts):
        return {}, {"method": method, "parameters": parameters.model_dump(), "models": {}}
    from pipeline.aggregation.learning import learn

    return learn(method, parameters, held_out, instances, facts.network)


if __name__ == "__main__":
    run_stage(main)
