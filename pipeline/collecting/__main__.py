"""Stage collection: what answering questions needs and nothing else, to data/collection/BENCHMARK."""

import argparse
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.contracts.benchmarks import load_benchmark
from pipeline.contracts.codes import read_code_folder
from pipeline.contracts.collection_rows import learned_codes
from pipeline.contracts.collections import (
    CALIBRATION,
    CATALOGUE,
    FEATURES,
    HASHER,
    IMAGES,
    INDEX,
    LOCAL_FEATURES,
    MODEL,
    NETWORK,
    ROWS,
    SHORTLIST_ROWS,
    THUMBNAILS,
    CollectionFacts,
    IndexFacts,
    copy_folder,
    new_rows,
    new_version,
    publish,
)
from pipeline.contracts.descriptors import read_codes_of_folder, read_folder
from pipeline.contracts.features.product_codes import ProductCodes
from pipeline.contracts.models import TENSORS
from pipeline.contracts.rankings import ANSWERS, RankingFacts
from pipeline.contracts.rankings import KIND as RANKINGS
from pipeline.contracts.running.disk import require_free_space
from pipeline.reranking.learned_weights import copy_weights
from pipeline.search.collection_params import CollectionParameters, IndexKind, refuse_index
from pipeline.search.params import SearchParameters
from pipeline.search.thumbnails import write_thumbnails
from pipeline.search.whole_images import whole_image
from pipeline.stage import places
from pipeline.stage.catalogue import read_catalogue, read_ground_truth, write_catalogue
from pipeline.stage.entry import run_stage
from pipeline.stage.manifest import CARD, load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import open_table, table_facts, write_json

Rows = npt.NDArray[Any]
DATABASE = "database-"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """What the stages before made of a benchmark.

    Attributes:
        ranked: what its rankings were computed with.
        search: the parameters of its search.
    """

    benchmark: str
    dataset: str
    ranked: RankingFacts
    search: SearchParameters

    @classmethod
    def of(cls, benchmark: str, dataset: str) -> Self:
        ranked = RankingFacts.of(load_manifest(places.rankings(benchmark), RANKINGS))
        return cls(benchmark, dataset, ranked, SearchParameters.model_validate(ranked.computed_with.search))

    @property
    def hashed(self) -> str | None:
        """The method whose codes are searched; None where descriptors are."""
        return self.ranked.computed_with.codes.method if self.ranked.bits else None

    @cached_property
    def codes(self) -> ProductCodes | None:
        """What the database's patches are stored as; None where their values are."""
        return learned_codes(places.models(self.benchmark)) if self.ranked.computed_with.descriptors.code_bytes else None

    def read(self, prefix: str) -> Iterator[tuple[list[str], Rows]]:
        """The rows that are compared, as the stages left them: codes, patches or descriptors, or codes of patches."""
        if self.hashed:
            return read_code_folder(places.codes(self.benchmark), prefix)
        if self.codes and prefix == DATABASE:
            return read_codes_of_folder(places.descriptors(self.benchmark), prefix)
        return read_folder(places.descriptors(self.benchmark), prefix)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `benchmarks` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    made = Made.of(benchmark, load_benchmark(benchmark, "dataset").dataset)
    parameters = load_section(CollectionParameters, "collection")
    refuse_index(parameters, made.search, codes=made.hashed is not None)
    collection = places.collection(benchmark)
    with new_version(collection) as staging:
        images = _write_images(staging, made, parameters)
        _write_calibration(staging, benchmark)
        _copy_what_describes(staging, made)
        kind = _kind(made, parameters)
        facts = CollectionFacts(
            benchmark=benchmark,
            dataset=made.dataset,
            images=images,
            described=made.ranked.computed_with.descriptors,
            hashed=made.hashed,
            search=made.ranked.computed_with.search,
            index=IndexFacts(kind=kind, candidates=parameters.candidates, loss={}),
        )
        publish(staging, collection, facts if kind == "flat" else _indexed(staging, made, parameters, facts))
    log.info("%s: %d images, %s index.", collection, images, kind)
    return Produced((collection,), images, "images")


def _write_images(staging: Path, made: Made, parameters: CollectionParameters) -> int:
    """Write rows, catalogue and thumbnails of the database; returns the number of images."""
    catalogue = {row.image_id: row for row in read_catalogue(places.images(made.dataset) / places.CATALOGUE)}
    blocks = made.read(DATABASE)
    if made.search.augmentation.used:
        from pipeline.collecting.computing import augmented  # and torch with it, which other collections do without

        instances = {row.image_id: row.instance for row in catalogue.values() if row.role == "database" and row.instance is not None}
        blocks = augmented(blocks, made.ranked.database, made.search.augmentation, instances)
    names = _write_rows(staging, made, blocks)
    write_catalogue(staging / CATALOGUE, (catalogue[image_id] for image_id in names))
    write_thumbnails(staging / THUMBNAILS, places.images(made.dataset), set(names), parameters.thumbnail)
    return len(names)


def _write_rows(staging: Path, made: Made, blocks: Iterator[tuple[list[str], Rows]]) -> list[str]:
    """Write what is compared, and of patches what a shortlist is made by; returns the ids of the rows' images."""
    names: list[str] = []
    targets: list[tuple[Rows, Callable[[Rows], Rows]]] = []
    for ids, block in blocks:
        if not targets:
            require_free_space(staging, int(block[0].nbytes) * made.ranked.database, f"The collection of {made.benchmark}")
            targets.append((new_rows(staging / ROWS, (made.ranked.database, *block.shape[1:]), block.dtype), _as_they_are))
            if block.ndim == 3 and made.search.shortlist:
                shape = made.ranked.database, made.ranked.dimensions
                targets.append((new_rows(staging / SHORTLIST_ROWS, shape, np.float32), partial(_whole_images, made)))
        for target, form in targets:
            target[len(names) : len(names) + len(ids)] = form(block)
        names += ids
    for target, _ in targets:
        target.flush()  # type: ignore[attr-defined]
    return names


def _as_they_are(rows: Rows) -> Rows:
    return rows


def _whole_images(made: Made, rows: Rows) -> Rows:
    """One vector of each image's patches."""
    return whole_image(made.codes.decode(rows) if made.codes else rows, made.search.candidates)


def _kind(made: Made, parameters: CollectionParameters) -> IndexKind:
    """The index in use; patches that are all compared have none."""
    if made.ranked.patches.database is not None and made.search.shortlist is None:
        return "flat"
    return parameters.kind_for(made.ranked.database, codes=made.hashed is not None)


def _indexed(staging: Path, made: Made, parameters: CollectionParameters, facts: CollectionFacts) -> CollectionFacts:
    """Write the index; the facts with what it costs, by the benchmark's own queries."""
    from pipeline.collecting.computing import measured, write_index

    patches = made.ranked.patches.database is not None
    rows, candidates = staging / (SHORTLIST_ROWS if patches else ROWS), made.search.candidates if patches else None
    write_index(staging / INDEX, facts.index, parameters, rows, places.descriptors(made.benchmark), candidates)
    truth = read_ground_truth(places.images(made.dataset) / places.GROUND_TRUTH)
    loss = measured(staging, facts, made.search, made.read("queries-"), truth)
    log.info("Against comparing every image: %s.", ", ".join(f"{name} {value:.4f}" for name, value in loss.items()))
    return facts.model_copy(update={"index": facts.index.model_copy(update={"loss": loss})})


def _write_calibration(staging: Path, benchmark: str) -> None:
    """What unknown objects score, and how sure a score and its lead are, as the search measured it."""
    learned = table_facts(open_table(places.rankings(benchmark) / ANSWERS, "answers"))
    write_json(staging / CALIBRATION, {"unknown": learned["unknown_scores"], "share": learned["share"], "certainty": learned["certainty"]})


def _copy_what_describes(staging: Path, made: Made) -> None:
    """Network and model; photographs and maps as well where re-ranking looks at them."""
    copy_folder(places.network(made.ranked.computed_with.descriptors.features.network.name), staging / NETWORK)
    copy_folder(places.models(made.benchmark), staging / MODEL)
    if made.hashed:
        copy_folder(places.codes(made.benchmark), staging / HASHER, only=(CARD, TENSORS))
    chosen = made.search.rerank.chosen
    if chosen is not None and chosen.looks:
        copy_folder(places.images(made.dataset), staging / IMAGES)
        copy_folder(places.features(made.dataset), staging / FEATURES)
        copy_weights(chosen, staging / LOCAL_FEATURES)


if __name__ == "__main__":
    run_stage(main)
