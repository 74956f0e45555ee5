"""Stage aggregate: descriptors of a benchmark's database, queries and held-out images, to data/descriptors/BENCHMARK."""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pipeline.aggregation.describers.describer import Describer, kept_patches
from pipeline.aggregation.describers.registry import load_describer
from pipeline.aggregation.map_stream import stream_maps
from pipeline.aggregation.params import load_method, refuse_form
from pipeline.aggregation.sink import DescriptorSink
from pipeline.contracts.catalogue import CatalogueRow, read_catalogue, read_ground_truth
from pipeline.contracts.descriptors import KIND
from pipeline.contracts.device import choose_device, hold
from pipeline.contracts.entry import run_stage
from pipeline.contracts.errors import ModelError, SanityError
from pipeline.contracts.fingerprint import fingerprint
from pipeline.contracts.held_out import duplicated, held_out_ids, refuse_leakage
from pipeline.contracts.manifest import load_manifest
from pipeline.contracts.progress import Progress
from pipeline.contracts.run_record import Produced
from pipeline.contracts.scratch import ScratchStore

log = logging.getLogger(__name__)
Add = Callable[[list[str], torch.Tensor, torch.Tensor | None], None]


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--held-out", required=True)
    parser.add_argument("--allow-self-learning", choices=("true", "false"), default="false")
    options = parser.parse_args(arguments)
    method, parameters = load_method()
    images, models = Path("data/images"), Path("data/models") / options.benchmark
    features = load_manifest(Path("data/features") / options.dataset, "feature maps").facts
    patch_levels = int(features["extract"]["patch_levels"])
    refuse_form(method, parameters, patch_levels)
    rows = read_catalogue(images / options.dataset / "catalogue.parquet")
    held_rows = read_catalogue(images / options.held_out / "catalogue.parquet")
    ids, role = held_out_ids(held_rows)
    with hold(choose_device()) as device:
        describer, card = load_describer(models, device)
        if (describer.method, describer.parameters) != (method, parameters):
            raise ModelError(f"{models}: learned for other parameters than aggregate.{method} has now; run `dvc repro`")
        _check_provenance(options, card)
        fingerprints = [load_manifest(folder, kind).fingerprint for folder, kind in _inputs(options, models)]
        store = ScratchStore(f"aggregate-{options.benchmark}", fingerprint(*fingerprints))
        names, facts = _describe_all(options, describer, rows, ids, patch_levels, store, device)
    facts |= {
        "method": method,
        "parameters": parameters.model_dump(mode="json"),
        "learned_on": card["learned_on"],
        "network_trained_on": card["network_trained_on"],
    }
    pairs = duplicated([row for row in held_rows if row.image_id in ids], [row for row in rows if row.role in ("database", "query")])
    facts["held_out_set"] = {"dataset": options.held_out, "role": role, "images": len(ids), "duplicates": len(pairs)}
    facts["duplicates"] = _warn_duplicates(pairs) if card["learned_on"] else 0
    output = Path("data/descriptors") / options.benchmark
    store.publish(output, names, KIND, **facts, features=features)
    log.info("%s: %d database images, %d queries.", output, facts["database"], facts["queries"])
    return Produced((output,), facts["database"] + facts["queries"] + facts["held_out"], "images")


def _inputs(options: argparse.Namespace, models: Path) -> list[tuple[Path, str]]:
    features = Path("data/features")
    return [(models, "model"), (features / options.dataset, "feature maps"), (features / options.held_out, "feature maps")]


def _check_provenance(options: argparse.Namespace, card: dict[str, Any]) -> None:
    learned_on = card["learned_on"]
    if learned_on:
        refuse_leakage(options.benchmark, options.dataset, learned_on["dataset"], learned_on["role"], options.allow_self_learning == "true")


def _describe_all(
    options: argparse.Namespace,
    describer: Describer,
    rows: list[CatalogueRow],
    held_out: set[str],
    patch_levels: int,
    store: ScratchStore,
    device: torch.device,
) -> tuple[list[str], dict[str, Any]]:
    """Write the three sets of descriptors; returns the files' names and facts for the manifest."""
    truth = read_ground_truth(Path("data/images") / options.dataset / "ground_truth.parquet")
    database = {row.image_id for row in rows if row.role == "database" and row.readable}
    queries = set(truth.queries)
    if not database:
        raise SanityError(f"benchmarks.{options.benchmark}.dataset: {options.dataset} has no readable database images")
    patches = {name: describer.patches(name, patch_levels) for name in ("database", "queries")}
    if patches["database"]:
        held_out = set()  # what learns on them, the hashing, takes no patches
    sinks = {name: DescriptorSink(store.folder, name) for name in ("database", "queries", "held_out")}

    def keep(image_ids: list[str], vectors: torch.Tensor, geometry: torch.Tensor | None) -> None:
        for name, wanted in (("database", database), ("queries", queries)):
            chosen = [index for index, image_id in enumerate(image_ids) if image_id in wanted]
            sinks[name].add([image_ids[index] for index in chosen], *kept_patches(vectors[chosen], geometry, patches[name]))

    with Progress("aggregate", len(database | queries) + len(held_out), "images") as progress, sinks["database"], sinks["queries"], sinks["held_out"]:
        _describe(options.dataset, database | queries, describer, device, keep, progress)
        if held_out:
            _describe(options.held_out, held_out, describer, device, sinks["held_out"].add, progress)
    if sinks["database"].images > 1 and not sinks["database"].varies:
        raise SanityError(f"all {sinks['database'].images} database descriptors are the same; look at the network's weights and preprocessing")
    facts: dict[str, Any] = {name: sink.images for name, sink in sinks.items()} | {"patches": patches}
    facts |= {"zero_descriptors": sinks["database"].zeros, "dimensions": sinks["database"].dimensions}
    return [name for sink in sinks.values() for name in sink.names], facts


def _describe(dataset: str, wanted: set[str], describer: Describer, device: torch.device, keep: Add, progress: Progress) -> None:
    folder = Path("data/features") / dataset
    images = Path("data/images") / dataset if describer.needs_pictures else None
    with torch.inference_mode():
        alive: torch.Tensor | None = None
        for image_ids, maps in stream_maps(folder, wanted, device, images):
            keep(image_ids, describer.describe(maps), describer.geometry(maps))
            active = (maps.scales[0] != 0).any(dim=3).any(dim=2).any(dim=0)
            alive = active if alive is None else alive | active
            progress.advance(len(image_ids))
    if alive is not None and not alive.all():
        log.warning("%s: %d of %d channels never fire.", folder, int((~alive).sum()), len(alive))


def _warn_duplicates(pairs: list[tuple[str, str]]) -> int:
    if pairs:
        log.warning(
            "%d images of the benchmark are also in the held-out set, the first is %s (held out as %s).", len(pairs), pairs[0][1], pairs[0][0]
        )
    return len(pairs)


if __name__ == "__main__":
    run_stage(main)
