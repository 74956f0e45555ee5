"""Stage search: rankings and exact counts of every query, with and without distractors, to data/rankings/BENCHMARK."""

import argparse
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts import codes
from pipeline.contracts.catalogue import GroundTruth, read_ground_truth
from pipeline.contracts.descriptors import KIND, read_folder
from pipeline.contracts.device import choose_device, hold
from pipeline.contracts.entry import run_stage
from pipeline.contracts.errors import SanityError
from pipeline.contracts.fingerprint import fingerprint
from pipeline.contracts.manifest import Manifest, load_manifest
from pipeline.contracts.parameters import load_section
from pipeline.contracts.rankings import COUNTS_SCHEMA, RANKING_SCHEMA, SETS
from pipeline.contracts.run_record import Produced
from pipeline.contracts.scratch import ScratchStore
from pipeline.contracts.tables import read_ids, write_table
from pipeline.search.exact import Counts, Results, count_labelled, top_results
from pipeline.search.hamming import count_labelled_codes, nearest_codes
from pipeline.search.params import SearchParameters

log = logging.getLogger(__name__)
QUERIES_AT_ONCE = 1024


@dataclass(frozen=True)
class Searched:
    """What is compared: real-valued descriptors by dot product, or binary codes by Hamming distance.

    Attributes:
        read: (folder, prefix) to blocks of (image ids, rows).
        own, distractors: folder and prefix of the database's and of the distractors' rows.
        device: that the dot products run on.
    """

    read: Callable[[Path, str], Iterator[tuple[list[str], npt.NDArray[Any]]]]
    own: Path
    distractors: Path
    binary: bool
    device: torch.device

    def blocks(self, name: str) -> Iterator[tuple[list[str], npt.NDArray[Any]]]:
        """Of a set of SETS."""
        mixed_in = self.read(self.distractors, "distractors-") if name == "with_distractors" else iter(())
        return itertools.chain(self.read(self.own, "database-"), mixed_in)

    def top(self, queries: npt.NDArray[Any], name: str, k: int) -> Results:
        if self.binary:
            return nearest_codes(queries, lambda: self.blocks(name), k)
        return top_results(torch.from_numpy(queries).to(self.device), lambda: self.blocks(name), k)

    def count(self, queries: npt.NDArray[Any], name: str, labelled: list[list[str]]) -> Counts:
        if self.binary:
            return count_labelled_codes(queries, lambda: self.blocks(name), labelled)
        return count_labelled(torch.from_numpy(queries).to(self.device), lambda: self.blocks(name), labelled)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark")
    parser.add_argument("--dataset", required=True)
    options = parser.parse_args(arguments)
    parameters = load_section(SearchParameters, "search")
    folders = {name: Path("data") / name / options.benchmark for name in ("descriptors", "distractors", "codes")}
    manifests = {name: load_manifest(folder, codes.KIND if name == "codes" else KIND) for name, folder in folders.items()}
    truth = read_ground_truth(Path("data/images") / options.dataset / "ground_truth.parquet")
    store = ScratchStore(
        f"search-{options.benchmark}", fingerprint(parameters.model_dump(), *(manifest.fingerprint for manifest in manifests.values()))
    )
    refuse_shared_ids(options.benchmark, folders, manifests)
    binary = bool(manifests["codes"].parts)
    own = folders["codes" if binary else "descriptors"]
    names: list[str] = []
    with hold(choose_device()) as device:
        searched = Searched(codes.read_code_folder if binary else read_folder, own, own if binary else folders["distractors"], binary, device)
        ids, rows = _queries(searched, truth, options.benchmark)
        for name in SETS:
            if name == "database" or manifests["distractors"].facts["distractors"]:
                names += _search(name, ids, rows, searched, truth, parameters.top_k, store)
    facts = {"queries": len(truth.queries), "answered": len(ids), "dimensions": manifests["descriptors"].facts["dimensions"]}
    facts |= {"bits": 8 * rows.shape[1] if binary else None}
    facts |= {"database": manifests["descriptors"].facts["database"], "distractors": manifests["distractors"].facts["distractors"]}
    about = {name: manifest.facts for name, manifest in manifests.items()} | {"search": parameters.model_dump()}
    output = Path("data/rankings") / options.benchmark
    store.publish(output, names, "rankings", **facts, computed_with=about)
    log.info("%s: %d queries in %d images and %d distractors.", output, len(ids), facts["database"], facts["distractors"])
    return Produced((output,), len(ids), "queries")


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


def _queries(searched: Searched, truth: GroundTruth, benchmark: str) -> tuple[list[str], npt.NDArray[Any]]:
    """Ids and rows of the queries that have one, in the ground truth's order."""
    found = {image_id: row for ids, rows in searched.read(searched.own, "queries-") for image_id, row in zip(ids, rows, strict=True)}
    ids = [query for query in truth.queries if query in found]
    if not ids:
        raise SanityError(
            f"benchmarks.{benchmark}: no query has a descriptor; the data set needs images of role query, or instances with several images"
        )
    return ids, np.stack([found[query] for query in ids])


def _search(name: str, ids: list[str], rows: npt.NDArray[Any], searched: Searched, truth: GroundTruth, top_k: int, store: ScratchStore) -> list[str]:
    labels: dict[str, dict[str, str]] = {query: {} for query in ids}
    for query, image_id, relevance in truth.rows:
        if query in labels:
            labels[query][image_id] = relevance
    ranking: dict[str, list[object]] = {column: [] for column in RANKING_SCHEMA.names}
    counts: dict[str, list[object]] = {column: [] for column in COUNTS_SCHEMA.names}
    for first in range(0, len(ids), QUERIES_AT_ONCE):
        chosen, chunk = ids[first : first + QUERIES_AT_ONCE], rows[first : first + QUERIES_AT_ONCE]
        _append_ranking(ranking, chosen, searched.top(chunk, name, top_k))
        _append_counts(counts, chosen, labels, searched.count(chunk, name, [list(labels[query]) for query in chosen]))
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
