"""Stage aggregate: descriptors of a benchmark's database, queries and held-out images, to data/descriptors/BENCHMARK."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.aggregation.describers.registry import load_describer
from pipeline.aggregation.describing import SETS, DescribeTask, Describing
from pipeline.aggregation.leaks import leaking_photographs, refuse_duplicates
from pipeline.aggregation.params import load_method, load_storage, refuse_unreadable_features
from pipeline.contracts.benchmarks import BenchmarkParameters, load_benchmark
from pipeline.contracts.descriptors import KIND, WHOLE_HELD_OUT, DescriptorFacts, PatchCounts
from pipeline.contracts.executors.executing import Receipt, fresh_images, run_tasks
from pipeline.contracts.features.feature_shards import KIND as FEATURES
from pipeline.contracts.features.feature_shards import FeatureFacts
from pipeline.contracts.held_out import HeldOutSet, LearnedOn, learned_and_kept_back, refuse_leakage
from pipeline.contracts.images.image_shards import KIND as IMAGES
from pipeline.contracts.models import KIND as MODEL
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.stage import places
from pipeline.stage.catalogue import CatalogueRow, read_catalogue, read_ground_truth
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ModelError, SanityError
from pipeline.stage.fingerprint import code_fingerprint, fingerprint
from pipeline.stage.manifest import load_manifest
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import read_ids

log = logging.getLogger(__name__)
Wanted = Mapping[str, frozenset[str]]


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `benchmarks` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    sets = load_benchmark(benchmark, "dataset", "held_out", "kept_back", "allow_self_learning")
    (method, parameters), storage = load_method(), load_storage()
    features = FeatureFacts.of(load_manifest(places.features(sets.dataset), FEATURES))
    refuse_unreadable_features(method, parameters, features.extract.patch_levels, features.network.layers)
    rows = read_catalogue(places.images(sets.dataset) / places.CATALOGUE)
    held_rows = read_catalogue(places.images(sets.held_out) / places.CATALOGUE)
    held_out, kept_back, role = learned_and_kept_back(held_rows, sets.kept_back)
    models = places.models(benchmark)
    describer, card = load_describer(models, torch.device("cpu"))
    if (describer.method, describer.parameters) != (method, parameters):
        raise ModelError(f"{models}: learned for other parameters than aggregate.{method} has now; run `dvc repro`")
    learned_on = card["learned_on"] and LearnedOn.model_validate(card["learned_on"])
    if learned_on:
        refuse_leakage(benchmark, sets.dataset, learned_on.dataset, learned_on.role, sets.allow_self_learning)
    pairs = leaking_photographs(sets, [row for row in held_rows if row.image_id in held_out], rows)
    if learned_on and pairs:
        refuse_duplicates(benchmark, sets, pairs)
    fingerprints = [load_manifest(folder, kind).fingerprint for folder, kind in _inputs(benchmark, sets)]
    code = code_fingerprint("stage", "contracts", "extraction", "projections", "maps", "aggregation")
    store = ScratchStore(f"aggregate-{benchmark}", fingerprint(*fingerprints, sets.kept_back, storage, code))
    tasks = _tasks(benchmark, sets, rows, held_out, kept_back)
    with Progress("aggregate", sum(task.images for task in tasks), "images") as progress:
        receipts = run_tasks(Describing(benchmark, features.network, features.extract, storage), tasks, store, progress)
    _warn_of_dead_channels(sets.dataset, receipts)
    levels = features.extract.patch_levels
    counts = {name: _sum(receipts, "images", name) for name in SETS}
    facts = DescriptorFacts(
        **counts,
        patches=PatchCounts(database=describer.patches("database", levels), queries=describer.patches("queries", levels)),
        zero_descriptors=_sum(receipts, "zeros", "database"),
        dimensions=_checked_dimensions(receipts),
        method=method,
        parameters=parameters.model_dump(mode="json"),
        learned_on=learned_on,
        network_trained_on=card["network_trained_on"],
        network_overlaps=card["network_overlaps"],
        held_out_set=HeldOutSet(dataset=sets.held_out, role=role, images=len(held_out), duplicates=len(pairs)),
        duplicates=len(pairs) if learned_on else 0,
        storage=storage,
        code_bytes=describer.product_codes.bytes if describer.product_codes else None,
        rounding=max(own["rounding"] for receipt in receipts for own in receipt.facts["sets"].values()),
        features=features,
    )
    output = places.descriptors(benchmark)
    store.publish(output, _in_order([file for receipt in receipts for file in receipt.files]), KIND, facts)
    log.info("%s: %d database images, %d queries.", output, facts.database, facts.queries)
    return Produced((output,), fresh_images(receipts), "images")


def _inputs(benchmark: str, sets: BenchmarkParameters) -> list[tuple[Path, str]]:
    return [
        (places.models(benchmark), MODEL),
        (places.features(sets.dataset), FEATURES),
        (places.features(sets.held_out), FEATURES),
    ]


def _tasks(benchmark: str, sets: BenchmarkParameters, rows: Sequence[CatalogueRow], held_out: set[str], kept_back: set[str]) -> list[DescribeTask]:
    """One per bucket of each data set that has images of a set."""
    truth = read_ground_truth(places.images(sets.dataset) / places.GROUND_TRUTH)
    database = {row.image_id for row in rows if row.role == "database" and row.readable}
    if not database:
        raise SanityError(f"benchmarks.{benchmark}.dataset: {sets.dataset} has no readable database images")
    wanted: dict[str, dict[str, frozenset[str]]] = {sets.dataset: {"database": frozenset(database), "queries": frozenset(truth.queries)}}
    wanted.setdefault(sets.held_out, {}).update({"held_out": frozenset(held_out), "kept_back": frozenset(kept_back)})
    tasks = (task for dataset, own in wanted.items() for task in _dataset_tasks(dataset, own))
    return [task for task in tasks if task.images]


def _dataset_tasks(dataset: str, wanted: Wanted) -> list[DescribeTask]:
    images, features = places.images(dataset), places.features(dataset)
    maps: dict[str, list[Path]] = {}
    for path in load_manifest(features, FEATURES).paths(features):
        maps.setdefault(path.stem.rpartition("-")[0], []).append(path)
    tasks = []
    for shard in load_manifest(images, IMAGES).paths(images):
        ids = frozenset(read_ids(shard, IMAGES))
        own = {name: ids & chosen for name, chosen in wanted.items()}
        tasks.append(DescribeTask(dataset, shard, tuple(maps.get(shard.stem, ())), own))
    return tasks


def _in_order(files: Sequence[str]) -> list[str]:
    """Files by set, then by bucket."""
    sets = [*SETS, WHOLE_HELD_OUT]
    return sorted(files, key=lambda file: (sets.index(file.rpartition("-")[0]), file))


def _sum(receipts: Sequence[Receipt], fact: str, name: str) -> int:
    return sum(receipt.facts["sets"][name][fact] for receipt in receipts if name in receipt.facts["sets"])


def _checked_dimensions(receipts: Sequence[Receipt]) -> int:
    """Of the database's descriptors.

    Raises:
        SanityError: they are all the same.
    """
    found: list[dict[str, Any]] = [receipt.facts["sets"]["database"] for receipt in receipts if "database" in receipt.facts["sets"]]
    images, varies = sum(own["images"] for own in found), any(own["varies"] for own in found) or len({own["first"] for own in found}) > 1
    if images > 1 and not varies:
        raise SanityError(f"all {images} database descriptors are the same; look at the network's weights and preprocessing")
    return int(found[0]["dimensions"])


def _warn_of_dead_channels(dataset: str, receipts: Sequence[Receipt]) -> None:
    """Say how many channels never fire, where every map was looked at."""
    if any(receipt.facts["known"] for receipt in receipts):
        return
    alive: npt.NDArray[np.bool_] = np.logical_or.reduce([np.array(receipt.facts["alive"], bool) for receipt in receipts])
    if not alive.all():
        log.warning("%s: %d of %d channels never fire.", places.features(dataset), int((~alive).sum()), len(alive))


if __name__ == "__main__":
    run_stage(main)
