"""Stage search: rankings and exact counts of every query, with and without distractors, to data/rankings/BENCHMARK."""

import argparse
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from pipeline.contracts.catalogue import GroundTruth, read_ground_truth
from pipeline.contracts.descriptors import KIND, Floats, read_folder
from pipeline.contracts.device import choose_device, hold
from pipeline.contracts.entry import run_stage
from pipeline.contracts.errors import SanityError
from pipeline.contracts.fingerprint import fingerprint
from pipeline.contracts.manifest import load_manifest
from pipeline.contracts.parameters import load_section
from pipeline.contracts.rankings import COUNTS_SCHEMA, RANKING_SCHEMA, SETS
from pipeline.contracts.run_record import Produced
from pipeline.contracts.scratch import ScratchStore
from pipeline.contracts.tables import write_table
from pipeline.search.exact import Blocks, Counts, Results, count_labelled, top_results
from pipeline.search.params import SearchParameters

log = logging.getLogger(__name__)
QUERIES_AT_ONCE = 1024


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark")
    parser.add_argument("--dataset", required=True)
    options = parser.parse_args(arguments)
    parameters = load_section(SearchParameters, "search")
    descriptors, distractors = Path("data/descriptors") / options.benchmark, Path("data/distractors") / options.benchmark
    manifests = load_manifest(descriptors, KIND), load_manifest(distractors, KIND)
    truth = read_ground_truth(Path("data/images") / options.dataset / "ground_truth.parquet")
    ids, vectors = _queries(descriptors, truth, options.benchmark)
    store = ScratchStore(f"search-{options.benchmark}", fingerprint(parameters.model_dump(), *(manifest.fingerprint for manifest in manifests)))

    def database() -> Iterator[tuple[list[str], Floats]]:
        return read_folder(descriptors, "database-")

    def with_distractors() -> Iterator[tuple[list[str], Floats]]:
        return itertools.chain(read_folder(descriptors, "database-"), read_folder(distractors, "distractors-"))

    names = []
    with hold(choose_device()) as device:
        for name, blocks in zip(SETS, (database, with_distractors), strict=True):
            if name == "database" or manifests[1].facts["distractors"]:
                names += _search(name, ids, vectors.to(device), blocks, truth, parameters.top_k, store)
    facts = {"queries": len(truth.queries), "answered": len(ids), "dimensions": vectors.shape[1]}
    facts |= {"database": manifests[0].facts["database"], "distractors": manifests[1].facts["distractors"]}
    about = {"descriptors": manifests[0].facts, "distractors": manifests[1].facts, "search": parameters.model_dump()}
    output = Path("data/rankings") / options.benchmark
    store.publish(output, names, "rankings", **facts, computed_with=about)
    log.info("%s: %d queries in %d images and %d distractors.", output, len(ids), facts["database"], facts["distractors"])
    return Produced((output,), len(ids), "queries")


def _queries(descriptors: Path, truth: GroundTruth, benchmark: str) -> tuple[list[str], torch.Tensor]:
    """Ids and vectors of the queries that have a descriptor, in the ground truth's order."""
    found = {image_id: vector for ids, vectors in read_folder(descriptors, "queries-") for image_id, vector in zip(ids, vectors, strict=True)}
    ids = [query for query in truth.queries if query in found]
    if not ids:
        raise SanityError(
            f"benchmarks.{benchmark}: no query has a descriptor; the data set needs images of role query, or instances with several images"
        )
    return ids, torch.from_numpy(np.stack([found[query] for query in ids]))


def _search(name: str, ids: list[str], vectors: torch.Tensor, blocks: Blocks, truth: GroundTruth, top_k: int, store: ScratchStore) -> list[str]:
    labels: dict[str, dict[str, str]] = {query: {} for query in ids}
    for query, image_id, relevance in truth.rows:
        if query in labels:
            labels[query][image_id] = relevance
    ranking: dict[str, list[object]] = {column: [] for column in RANKING_SCHEMA.names}
    counts: dict[str, list[object]] = {column: [] for column in COUNTS_SCHEMA.names}
    for first in range(0, len(ids), QUERIES_AT_ONCE):
        chosen = ids[first : first + QUERIES_AT_ONCE]
        chunk = vectors[first : first + QUERIES_AT_ONCE]
        _append_ranking(ranking, chosen, top_results(chunk, blocks, top_k))
        _append_counts(counts, chosen, labels, count_labelled(chunk, blocks, [list(labels[query]) for query in chosen]))
    files = f"ranking-{name}.parquet", f"counts-{name}.parquet"
    write_table(store.path(files[0]), "ranking", RANKING_SCHEMA, ranking)
    write_table(store.path(files[1]), "counts", COUNTS_SCHEMA, counts)
    return list(files)


def _append_ranking(columns: dict[str, list[object]], queries: list[str], results: Results) -> None:
    for query, ids, scores in zip(queries, results.image_ids, results.scores.tolist(), strict=True):
        columns["query_id"] += [query] * len(ids)
        columns["rank"] += range(len(ids))
        columns["image_id"] += ids
        columns["score"] += scores


def _append_counts(columns: dict[str, list[object]], queries: list[str], labels: dict[str, dict[str, str]], counts: Counts) -> None:
    for (query, image_id), score, above, equal in zip(
        counts.pairs, counts.scores.tolist(), counts.above.tolist(), counts.equal.tolist(), strict=True
    ):
        row = (queries[query], image_id, labels[queries[query]][image_id], score, above, equal)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)


if __name__ == "__main__":
    run_stage(main)
