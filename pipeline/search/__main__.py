"""Stage search: rankings and exact counts of every query, with and without distractors, to data/rankings/BENCHMARK."""

import argparse
import logging
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import torch

from pipeline.contracts.benchmarks import BenchmarkParameters, load_benchmark
from pipeline.contracts.codes import CodeFacts
from pipeline.contracts.descriptors import KIND as DESCRIPTORS
from pipeline.contracts.descriptors import DescriptorFacts, DistractorFacts
from pipeline.contracts.rankings import ANSWERS, COUNTS_SCHEMA, IRRELEVANT, KIND, RANKING_SCHEMA, SETS, ComputedWith, RankingFacts
from pipeline.contracts.results import Counts, Results
from pipeline.contracts.running.device import choose_device, hold
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.search.answer_table import doubts, known_instances, learn_sureness, search_unknown, write_answers
from pipeline.search.answers import Answer, answers_of
from pipeline.search.params import SearchParameters, refuse_unsearchable
from pipeline.search.patch_boxes import PatchBoxes
from pipeline.search.plain_search import CodeSearch, DescriptorSearch, PatchSearch, Rows, Search
from pipeline.stage import places
from pipeline.stage.catalogue import CatalogueRow, GroundTruth, read_catalogue, read_ground_truth
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ParameterError, SanityError
from pipeline.stage.fingerprint import fingerprint
from pipeline.stage.manifest import Manifest, load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import read_ids, write_table

log = logging.getLogger(__name__)
MOST_LABELLED = 2000
"""Labelled images of a query that a search looks beyond, to find those without a label."""


@dataclass(frozen=True)
class Inputs:
    """The folders that are searched, by what they hold: descriptors, distractors, codes; and the benchmark that they belong to."""

    benchmark: str
    sets: BenchmarkParameters
    folders: dict[str, Path]
    manifests: dict[str, Manifest]

    @classmethod
    def of(cls, benchmark: str, sets: BenchmarkParameters) -> Self:
        folders = {"descriptors": places.descriptors(benchmark), "distractors": places.distractors(benchmark), "codes": places.codes(benchmark)}
        return cls(benchmark, sets, folders, {name: load_manifest(folder, name) for name, folder in folders.items()})

    @property
    def fingerprints(self) -> list[str]:
        return [manifest.fingerprint for manifest in self.manifests.values()]

    @cached_property
    def described(self) -> DescriptorFacts:
        return DescriptorFacts.of(self.manifests["descriptors"])

    @cached_property
    def mixed_in(self) -> DistractorFacts:
        return DistractorFacts.of(self.manifests["distractors"])

    @cached_property
    def encoded(self) -> CodeFacts:
        return CodeFacts.of(self.manifests["codes"])

    @property
    def images(self) -> int:
        """Of the database and the distractors together."""
        return self.described.database + self.mixed_in.distractors

    def shards(self, name: str, prefix: str) -> list[Path]:
        return self.manifests[name].paths(self.folders[name], prefix)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `benchmarks` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    sets = load_benchmark(benchmark, "dataset", "distractors")
    parameters = load_section(SearchParameters, "search")
    inputs = Inputs.of(benchmark, sets)
    photographs = places.images(sets.dataset)
    truth = read_ground_truth(photographs / places.GROUND_TRUTH)
    catalogue = read_catalogue(photographs / places.CATALOGUE)
    refuse_own_instances(benchmark, parameters, truth, catalogue)
    store = ScratchStore(f"search-{benchmark}", fingerprint(parameters.in_use(), *inputs.fingerprints))
    refuse_shared_ids(benchmark, inputs.shards("descriptors", "database-"), inputs.shards("distractors", "distractors-"))
    described, distractors = inputs.described, inputs.mixed_in.distractors
    names, answers = [ANSWERS], list[Answer]()
    instances = known_instances(photographs)
    with hold(choose_device()) as device:
        search = _search_of(inputs, parameters, device, instances)
        ids, rows = search.queries(truth)
        if not ids:
            log.warning(
                "%s: no query has a descriptor, so that nothing can be evaluated; its collection can be asked. Queries are images of role query, "
                "or instances with several images.",
                benchmark,
            )
        for name in SETS:
            if name == "database" or distractors:
                files, found = _search(name, ids, rows, search, truth, store, instances)
                names += files
                answers = found if name == "database" else answers
        held_out = described.held_out_set
        trained = any((step.dataset, step.role) == (held_out.dataset, held_out.role) for step in described.network_trained_on)
        learned = bool(described.learned_on or inputs.encoded.learned_on)
        unknown = search_unknown(search, photographs, instances, distractors, learned=learned, trained=trained)
        write_answers(store.path(ANSWERS), answers, unknown, learn_sureness(search, answers, photographs, instances))
        for line in doubts(benchmark, unknown):
            log.warning(line)
    facts = RankingFacts(
        queries=len(truth.queries),
        answered=len(ids),
        dimensions=described.dimensions,
        patches=described.patches,
        bits=inputs.encoded.parameters["bits"] if isinstance(search, CodeSearch) else None,
        database=described.database,
        distractors=distractors,
        computed_with=ComputedWith(
            descriptors=described,
            distractors=inputs.mixed_in,
            codes=inputs.encoded,
            search=parameters.in_use(),
            shortlist=parameters.shortlist,
            refinements=parameters.words,
        ),
    )
    output = places.rankings(benchmark)
    store.publish(output, names, KIND, facts)
    log.info("%s: %d queries in %d images and %d distractors.", output, len(ids), facts.database, facts.distractors)
    return Produced((output,), len(ids), "queries")


def _search_of(inputs: Inputs, parameters: SearchParameters, device: torch.device, instances: dict[str, str]) -> Search:
    """What the folders hold: codes where there are some, else patches or descriptors.

    Raises:
        ParameterError: a parameter that belongs to another kind.
    """
    patch_levels = inputs.described.features.extract.patch_levels
    codes_searched = inputs.encoded.method if inputs.manifests["codes"].parts else None
    refuse_unsearchable(parameters, patch_levels, codes_searched)
    if parameters.refined:
        return _refined_search(inputs, parameters, device, instances)
    folders = inputs.folders
    if codes_searched:
        return CodeSearch(folders["codes"], folders["codes"], inputs.images, parameters, device)
    kind = PatchSearch if patch_levels else DescriptorSearch
    search = kind(folders["descriptors"], folders["distractors"], inputs.images, parameters, device)
    if isinstance(search, PatchSearch):
        rows = read_catalogue(places.images(inputs.sets.dataset) / places.CATALOGUE)
        search.boxes = PatchBoxes(inputs.described.features.extract, {row.image_id: (row.width, row.height) for row in rows if row.readable})
    return search


def _refined_search(inputs: Inputs, parameters: SearchParameters, device: torch.device, instances: dict[str, str]) -> Search:
    """Networks and describers are imported here, so that a plain search does without."""
    from pipeline.reranking.content import Content
    from pipeline.search.refined_search import RefinedSearch

    sets, made_with, folders = inputs.sets, inputs.described.features, inputs.folders
    images = places.images(sets.dataset), places.images(sets.distractors)
    network, model = places.network(made_with.network.name), places.models(inputs.benchmark)
    content = Content(images, places.features(sets.dataset), network, model, made_with, device)
    return RefinedSearch(folders["descriptors"], folders["distractors"], inputs.images, parameters, device, content, instances)


def refuse_own_instances(benchmark: str, parameters: SearchParameters, truth: GroundTruth, catalogue: list[CatalogueRow]) -> None:
    """Refuse means of instances where a query is an image of the database: its own descriptor would be in what it is compared with.

    Raises:
        ParameterError: it is.
    """
    if parameters.augmentation.instances == "none":
        return
    own = set(truth.queries) & {row.image_id for row in catalogue if row.role == "database"}
    if own:
        raise ParameterError(
            f"search.augmentation.instances: {parameters.augmentation.instances} mixes photographs of one instance, and {len(own)} queries of "
            f"benchmarks.{benchmark}, {min(own)} the first, are photographs of the database: they would find themselves. Set it to none, or give "
            "photographs that ask the role query"
        )


def refuse_shared_ids(benchmark: str, database: list[Path], distractors: list[Path]) -> None:
    """Refuse distractors that have an id of the database: a result could not be told apart.

    Args:
        database, distractors: descriptor shards.
    """
    own = {image_id for path in database for image_id in read_ids(path, DESCRIPTORS)} if distractors else set()
    for path in distractors:
        shared = own.intersection(read_ids(path, DESCRIPTORS))
        if shared:
            raise SanityError(
                f"benchmarks.{benchmark}.distractors: {min(shared)} is an image of the database as well; "
                "name a data set whose image ids (paths in a folder) differ"
            )


def _search(
    name: str, ids: list[str], rows: Rows, search: Search, truth: GroundTruth, store: ScratchStore, instances: dict[str, str]
) -> tuple[list[str], list[Answer]]:
    """Write the results and the counts of a set; returns the files' names and the answers."""
    answers: list[Answer] = []
    labels: dict[str, dict[str, str]] = {query: {} for query in ids}
    for query, image_id, relevance in truth.rows:
        if query in labels:
            labels[query][image_id] = relevance
    ranking: dict[str, list[object]] = {column: [] for column in RANKING_SCHEMA.names}
    irrelevant: dict[str, list[object]] = {column: [] for column in RANKING_SCHEMA.names}
    counts: dict[str, list[object]] = {column: [] for column in COUNTS_SCHEMA.names}
    started, at_once = time.monotonic(), search.queries_at_once
    for first in range(0, len(ids), at_once):
        chosen = ids[first : first + at_once]
        labelled = [list(labels[query]) for query in chosen]
        top_k = search.parameters.top_k
        deep = top_k + min(max(map(len, labelled)), MOST_LABELLED) + IRRELEVANT
        own = rows[first : first + len(chosen)]
        found, counted = search.search(chosen, own, name, labelled, deep)
        found = search.located(own, name, found)
        kept = found.first(top_k)
        answers += answers_of(chosen, kept, instances)
        _append_ranking(ranking, chosen, kept)
        _append_irrelevant(irrelevant, chosen, labels, found)
        _append_counts(counts, chosen, labels, counted)
    log.info("%s: %.4f seconds per query.", name.replace("_", " "), (time.monotonic() - started) / max(len(ids), 1))
    files = f"ranking-{name}.parquet", f"irrelevant-{name}.parquet", f"counts-{name}.parquet"
    write_table(store.path(files[0]), "ranking", RANKING_SCHEMA, ranking)
    write_table(store.path(files[1]), "ranking", RANKING_SCHEMA, irrelevant)
    write_table(store.path(files[2]), "counts", COUNTS_SCHEMA, counts)
    return list(files), answers


def _append_ranking(columns: dict[str, list[object]], queries: list[str], results: Results) -> None:
    boxes = results.boxes or [[None] * len(ids) for ids in results.image_ids]
    for query, ids, scores, found in zip(queries, results.image_ids, results.scores, boxes, strict=True):
        columns["query_id"] += [query] * len(ids)
        columns["rank"] += range(len(ids))
        columns["image_id"] += ids
        columns["score"] += scores
        for index, corner in enumerate(("x0", "y0", "x1", "y1")):
            columns[corner] += [None if box is None else box[index] for box in found]


def _append_irrelevant(columns: dict[str, list[object]], queries: list[str], labels: dict[str, dict[str, str]], results: Results) -> None:
    """The first images of each query that have no label, with their ranks among all results; the query itself is none of them."""
    boxes = results.boxes or [[None] * len(ids) for ids in results.image_ids]
    for query, ids, scores, found in zip(queries, results.image_ids, results.scores, boxes, strict=True):
        unlabelled = [rank for rank, image_id in enumerate(ids) if image_id not in labels[query] and image_id != query][:IRRELEVANT]
        for rank in unlabelled:
            row = (query, rank, ids[rank], scores[rank], *(found[rank] or (None,) * 4))
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)


def _append_counts(columns: dict[str, list[object]], queries: list[str], labels: dict[str, dict[str, str]], counts: Counts) -> None:
    for (query, image_id), score, above, equal in zip(
        counts.pairs, counts.scores.tolist(), counts.above.tolist(), counts.equal.tolist(), strict=True
    ):
        row = (queries[query], image_id, labels[queries[query]][image_id], score, above, equal)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)


if __name__ == "__main__":
    run_stage(main)
