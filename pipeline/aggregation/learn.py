"""Stage learn: what the active method learns on the held-out set, to data/models/BENCHMARK."""

import argparse
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.aggregation.describers.registry import DESCRIBERS
from pipeline.aggregation.map_stream import MapBatch, stream_maps
from pipeline.aggregation.params import load_method, refuse_form
from pipeline.contracts.catalogue import read_catalogue
from pipeline.contracts.device import choose_device, hold
from pipeline.contracts.entry import run_stage
from pipeline.contracts.errors import ModelError
from pipeline.contracts.feature_shards import KIND
from pipeline.contracts.fingerprint import fingerprint
from pipeline.contracts.held_out import held_out_ids, refuse_leakage, refuse_trained_network
from pipeline.contracts.manifest import CARD, load_manifest
from pipeline.contracts.models import TENSORS, save_model
from pipeline.contracts.run_record import Produced
from pipeline.contracts.scratch import ScratchStore
from pipeline.contracts.tables import read_json
from pipeline.networks.registry import CARD as NETWORK_CARD

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark")
    parser.add_argument("--dataset", required=True, help="what the model will be applied to")
    parser.add_argument("--held-out", required=True, help="what it is learned on")
    parser.add_argument("--allow-self-learning", choices=("true", "false"), default="false")
    options = parser.parse_args(arguments)
    method, parameters = load_method()
    describer = DESCRIBERS[method](method, parameters)
    rows = read_catalogue(Path("data/images") / options.held_out / "catalogue.parquet")
    ids, role = held_out_ids(rows)
    instances = {row.image_id: row.instance for row in rows if row.image_id in ids}
    features = Path("data/features") / options.held_out
    manifest = load_manifest(features, KIND)
    images = Path("data/images") / options.held_out if describer.needs_pictures else None
    refuse_form(method, parameters, manifest.facts["extract"]["patch_levels"])
    choice = manifest.facts["network"]
    network = Path("data/networks") / choice["name"]
    trained_on = refuse_trained_network(options.benchmark, options.dataset, read_json(network / NETWORK_CARD), options.allow_self_learning == "true")
    weights = load_manifest(network, "network")
    describer.adopt(network, choice)
    learned_on: dict[str, object] | None = None
    if describer.learns:
        refuse_leakage(options.benchmark, options.dataset, options.held_out, role, options.allow_self_learning == "true")
        if not ids:
            raise ModelError(f"benchmarks.{options.benchmark}.held_out: {options.held_out} has no images, and aggregate.{method} learns from some")
        with hold(choose_device()) as device:
            describer.fit(lambda: _maps(features, instances, device, images))
        learned_on = {"dataset": options.held_out, "role": role, "images": len(ids), "fingerprint": manifest.fingerprint}
    store = ScratchStore(f"learn-{options.benchmark}", fingerprint(method, parameters.model_dump(), manifest.fingerprint, weights.fingerprint))
    save_model(store.folder, describer.tensors(), describer.card() | {"learned_on": learned_on, "network_trained_on": trained_on})
    output = Path("data/models") / options.benchmark
    store.publish(output, [TENSORS, CARD], "model", method=method)
    log.info("%s: %s, learned on %s.", output, method, f"{len(ids)} images of {options.held_out}" if learned_on else "nothing")
    return Produced((output,), len(ids) if learned_on else 0, "images")


def _maps(features: Path, instances: dict[str, str | None], device: torch.device, images: Path | None) -> Iterator[MapBatch]:
    for ids, maps in stream_maps(features, set(instances), device, images):
        yield replace(maps, instances=[instances[image_id] for image_id in ids])


if __name__ == "__main__":
    run_stage(main)
