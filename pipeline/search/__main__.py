"""Stage search: rankings and exact counts of every query, with and without distractors, to data/rankings/BENCHMARK."""

import argparse
import logging
import time
from pathlib import Path
from typing import Any

import torch

from pipeline.contracts import codes
from pipeline.contracts.catalogue import GroundTruth, read_ground_truth
from pipeline.contracts.descriptors import KIND
from pipeline.contracts.device import choose_device, hold
from pipeline.contracts.entry import run_stage
from pipeline.contracts.errors import SanityError
from pipeline.contracts.fingerprint import fingerprint
from pipeline.contracts.manifest import Manifest, load_manifest
from pipeline.contracts.parameters import load_section
from pipeline.contracts.rankings import ANSWERS, COUNTS_SCHEMA, RANKING_SCHEMA, SETS
from pipeline.contracts.run_record import Produced
from pipeline.contracts.scratch import ScratchStore
from pipeline.contracts.tables import read_ids, write_table
from pipeline.search.answering import known_instances, search_unknown, write_answers
from pipeline.search.answers import Answer, answers_of
from pipeline.search.exact import Counts, Results
from pipeline.search.params import SearchParameters, refuse_form
from pipeline.search.searches import CodeSearch, DescriptorSearch, PatchSearch, Rows, Search

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--distractors", required=True, help="the data set")
    options = parser.parse_args(arguments)
    parameters = load_section(SearchParameters, "search")
    folders = {name: Path("data") / name / options.benchmark for name in ("descriptors", "distractors", "codes")}
    manifests = {name: load_manifest(folder, codes.KIND if name == "codes" else KIND) for name, folder in folders.items()}
    truth = read_ground_truth(Path("data/images") / options.dataset / "ground_truth.parquet")
    store = ScratchStore(f"search-{options.benchmark}", fingerprint(parameters.in_use(), *(manifest.fingerprint for manifest in manifests.values())))
    refuse_shared_ids(options.benchmark, folders, manifests)
    described = manifests["descriptors"].facts
    names, answers = [ANSWERS], list[Answer]()
    photographs = Path("data/images") / options.dataset
    instances = known_instances(photographs)
    with hold(choose_device()) as device:
        search = _search_of(options, folders, manifests, parameters, device, instances)
        ids, rows = search.queries(truth)
        if rows is None:
            raise SanityError(
                f"benchmarks.{options.benchmark}: no query has a descriptor; "
                "the data set needs images of role query, or instances with several images"
            )
        for name in SETS:
            if name == "database" or manifests["distractors"].facts["distractors"]:
                files, found = _search(name, ids, rows, search, truth, store, instances)
                names += files
                answers = found if name == "database" else answers
        write_answers(store.path(ANSWERS), answers, search_unknown(search, photographs, instances))
    facts = {"queries": len(truth.queries), "answered": len(ids), "dimensions": described["dimensions"], "patches": described["patches"]}
    facts |= {"bits": 8 * rows.shape[1] if isinstance(search, CodeSearch) else None}
    facts |= {"database": described["database"], "distractors": manifests["distractors"].facts["distractors"]}
    about = {name: manifest.facts for name, manifest in manifests.items()} | {"search": parameters.in_use()}
    output = Path("data/rankings") / options.benchmark
    store.publish(output, names, "rankings", **facts, computed_with=about)
    log.info("%s: %d queries in %d images and %d distractors.", output, len(ids), facts["database"], facts["distractors"])
    return Produced((output,), len(ids), "queries")


def _search_of(
    options: argparse.Namespace,
    folders: dict[str, Path],
    manifests: dict[str, Manifest],
    parameters: SearchParameters,
    device: torch.device,
    instances: dict[str, str],
) -> Search:
    """What the folders hold: codes where there are some, else patches or descriptors.

    Raises:
        ParameterError: a parameter that belongs to another kind.
    """
    described = manifests["descriptors"].facts
    images = int(described["database"]) + int(manifests["distractors"].facts["distractors"])
    patch_levels = int(described["features"]["extract"]["patch_levels"])
    codes_searched = manifests["codes"].facts["method"] if manifests["codes"].parts else None
    refuse_form(parameters, patch_levels, codes_searched)
    if parameters.refined:
        return _refined_search(options, folders, described["features"], images, parameters, device, instances)
    if codes_searched:
        return CodeSearch(folders["codes"], folders["codes"], images, parameters, device)
    kind = PatchSearch if patch_levels else DescriptorSearch
    return kind(folders["descriptors"], folders["distractors"], images, parameters, device)


def _refined_search(
    options: argparse.Namespace,
    folders: dict[str, Path],
    features: dict[str, Any],
    images: int,
    parameters: SearchParameters,
    device: torch.device,
    instances: dict[str, str],
) -> Search:
    """Networks and describers are imported here, so that a plain search does without."""
    from pipeline.search.refined_search import RefinedSearch
    from pipeline.search.reranking.content import Content

    content = Content(options.benchmark, options.dataset, options.distractors, features, device)
    return RefinedSearch(folders["descriptors"], folders["distractors"], images, parameters, device, content, instances)


def refuse_shared_ids(benchmark: str, folders: dict[str, Path], manifests: dict[str, Manifest]) -> None:
    """Refuse distractors that have an id of the database: a result could not be told apart."""
    shards = {name: manifests[name].paths(folders[name], prefix) for name, prefix in (("descriptors", "database-"), ("distractors", "distractors-"))}
    if shards["distractors"]:
        own = {image_id for path in shards["descriptors"] for image_id in read_ids(path, KIND)}
        for path in shards["distractors"]:
            shared = own.intersection(read_ids(path, KIND))
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
    counts: dict[str, list[object]] = {column: [] for column in COUNTS_SCHEMA.names}
    started, at_once = time.monotonic(), search.queries_at_once
    for first in range(0, len(ids), at_once):
        chosen = ids[first : first + at_once]
        found, counted = search.search(chosen, rows[first : first + len(chosen)], name, [list(labels[query]) for query in chosen])
        answers += answers_of(chosen, found, instances)
        _append_ranking(ranking, chosen, found)
        _append_counts(counts, chosen, labels, counted)
    log.info("%s: %.4f seconds per query.", name.replace("_", " "), (time.monotonic() - started) / max(len(ids), 1))
    files = f"ranking-{name}.parquet", f"counts-{name}.parquet"
    write_table(store.path(files[0]), "ranking", RANKING_SCHEMA, ranking)
    write_table(store.path(files[1]), "counts", COUNTS_SCHEMA, counts)
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


def _append_counts(columns: dict[str, list[object]], queries: list[str], labels: dict[str, dict[str, str]], counts: Counts) -> None:
    for (query, image_id), score, above, equal in zip(
        counts.pairs, counts.scores.tolist(), counts.above.tolist(), counts.equal.tolist(), strict=True
    ):
        row = (queries[query], image_id, labels[queries[query]][image_id], score, above, equal)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)


if __name__ == "__main__":
    run_stage(main)
