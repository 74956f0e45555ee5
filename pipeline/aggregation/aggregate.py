"""Stage aggregate: descriptors of a benchmark's database, queries and held-out images, to data/descriptors/BENCHMARK."""

import argparse
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.aggregation.describers.describer import Describer
from pipeline.aggregation.describers.registry import load_describer
from pipeline.aggregation.leaks import leaking_photographs, refuse_duplicates
from pipeline.aggregation.params import load_method, refuse_unreadable_features
from pipeline.aggregation.sink import DescriptorSink
from pipeline.contracts.benchmarks import BenchmarkParameters, load_benchmark
from pipeline.contracts.descriptors import KIND, WHOLE_HELD_OUT, DescriptorFacts, PatchCounts
from pipeline.contracts.device import choose_device, hold
from pipeline.contracts.feature_shards import KIND as FEATURES
from pipeline.contracts.feature_shards import FeatureFacts
from pipeline.contracts.held_out import HeldOutSet, LearnedOn, held_out_ids, refuse_leakage
from pipeline.contracts.models import KIND as MODEL
from pipeline.contracts.progress import Progress
from pipeline.contracts.scratch import ScratchStore
from pipeline.maps.stream import stream_maps
from pipeline.projections.normalization import l2
from pipeline.stage import places
from pipeline.stage.catalogue import CatalogueRow, read_catalogue, read_ground_truth
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ModelError, SanityError
from pipeline.stage.fingerprint import fingerprint
from pipeline.stage.manifest import load_manifest
from pipeline.stage.run_record import Produced

log = logging.getLogger(__name__)
Add = Callable[[list[str], torch.Tensor], None]


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `benchmarks` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    sets = load_benchmark(benchmark, "dataset", "held_out", "allow_self_learning")
    method, parameters = load_method()
    features = FeatureFacts.of(load_manifest(places.features(sets.dataset), FEATURES))
    refuse_unreadable_features(method, parameters, features.extract.patch_levels)
    rows = read_catalogue(places.images(sets.dataset) / places.CATALOGUE)
    held_rows = read_catalogue(places.images(sets.held_out) / places.CATALOGUE)
    ids, role = held_out_ids(held_rows)
    models = places.models(benchmark)
    with hold(choose_device()) as device:
        describer, card = load_describer(models, device)
        if (describer.method, describer.parameters) != (method, parameters):
            raise ModelError(f"{models}: learned for other parameters than aggregate.{method} has now; run `dvc repro`")
        learned_on = card["learned_on"] and LearnedOn.model_validate(card["learned_on"])
        if learned_on:
            refuse_leakage(benchmark, sets.dataset, learned_on.dataset, learned_on.role, sets.allow_self_learning)
        pairs = leaking_photographs(sets, [row for row in held_rows if row.image_id in ids], rows)
        if learned_on and pairs:
            refuse_duplicates(benchmark, sets, pairs)
        fingerprints = [load_manifest(folder, kind).fingerprint for folder, kind in _inputs(benchmark, sets)]
        store = ScratchStore(f"aggregate-{benchmark}", fingerprint(*fingerprints))
        written = _describe_all(benchmark, sets, describer, rows, ids, features.extract.patch_levels, store, device)
    facts = DescriptorFacts(
        **{name: sink.images for name, sink in written.sinks.items()},
        patches=written.patches,
        zero_descriptors=written.sinks["database"].zeros,
        dimensions=written.sinks["database"].dimensions,
        method=method,
        parameters=parameters.model_dump(mode="json"),
        learned_on=learned_on,
        network_trained_on=card["network_trained_on"],
        held_out_set=HeldOutSet(dataset=sets.held_out, role=role, images=len(ids), duplicates=len(pairs)),
        duplicates=len(pairs) if learned_on else 0,
        features=features,
    )
    output = places.descriptors(benchmark)
    store.publish(output, [*(name for sink in written.sinks.values() for name in sink.names), *written.whole], KIND, facts)
    log.info("%s: %d database images, %d queries.", output, facts.database, facts.queries)
    return Produced((output,), facts.database + facts.queries + facts.held_out, "images")


def _inputs(benchmark: str, sets: BenchmarkParameters) -> list[tuple[Path, str]]:
    return [
        (places.models(benchmark), MODEL),
        (places.features(sets.dataset), FEATURES),
        (places.features(sets.held_out), FEATURES),
    ]


@dataclass(frozen=True)
class Written:
    """The sinks of database, queries and held_out after all their descriptors, files of whole images, and how many patches images have."""

    sinks: dict[str, DescriptorSink]
    whole: list[str]
    patches: PatchCounts


def _describe_all(
    benchmark: str,
    sets: BenchmarkParameters,
    describer: Describer,
    rows: list[CatalogueRow],
    held_out: set[str],
    patch_levels: int,
    store: ScratchStore,
    device: torch.device,
) -> Written:
    """Write the three sets of descriptors."""
    truth = read_ground_truth(places.images(sets.dataset) / places.GROUND_TRUTH)
    database = {row.image_id for row in rows if row.role == "database" and row.readable}
    queries = set(truth.queries)
    if not database:
        raise SanityError(f"benchmarks.{benchmark}.dataset: {sets.dataset} has no readable database images")
    patches = PatchCounts(database=describer.patches("database", patch_levels), queries=describer.patches("queries", patch_levels))
    sinks = {name: DescriptorSink(store.folder, name) for name in ("database", "queries", "held_out")}
    whole = DescriptorSink(store.folder, WHOLE_HELD_OUT)

    def keep(image_ids: list[str], vectors: torch.Tensor) -> None:
        for name, wanted, kept in (("database", database, patches.database), ("queries", queries, patches.queries)):
            chosen = [index for index, image_id in enumerate(image_ids) if image_id in wanted]
            sinks[name].add([image_ids[index] for index in chosen], vectors[chosen] if kept is None else vectors[chosen, :kept])

    def keep_whole(image_ids: list[str], vectors: torch.Tensor) -> None:
        own = vectors[:, : patches.database]
        whole.add(image_ids, torch.stack([l2(own[:, 0]), l2(own.sum(dim=1))], dim=1))

    add = keep_whole if patches.database else sinks["held_out"].add
    with ExitStack() as stack:
        progress = stack.enter_context(Progress("aggregate", len(database | queries) + len(held_out), "images"))
        for sink in (*sinks.values(), whole):
            stack.enter_context(sink)
        _describe(sets.dataset, database | queries, describer, device, keep, progress)
        if held_out:
            _describe(sets.held_out, held_out, describer, device, add, progress)
    if sinks["database"].images > 1 and not sinks["database"].varies:
        raise SanityError(f"all {sinks['database'].images} database descriptors are the same; look at the network's weights and preprocessing")
    return Written(sinks, whole.names, patches)


def _describe(dataset: str, wanted: set[str], describer: Describer, device: torch.device, keep: Add, progress: Progress) -> None:
    folder = places.features(dataset)
    images = places.images(dataset) if describer.parameters.needs_pictures else None
    with torch.inference_mode():
        alive: torch.Tensor | None = None
        for image_ids, maps in stream_maps(folder, wanted, device, images):
            keep(image_ids, describer.describe_each(maps))
            active = (maps.scales[0] != 0).any(dim=3).any(dim=2).any(dim=0)
            alive = active if alive is None else alive | active
            progress.advance(len(image_ids))
    if alive is not None and not alive.all():
        log.warning("%s: %d of %d channels never fire.", folder, int((~alive).sum()), len(alive))


if __name__ == "__main__":
    run_stage(main)
