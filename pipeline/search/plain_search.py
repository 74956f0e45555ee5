"""What is searched: descriptors of images, those of their patches, or binary codes; each gives the first results and the exact counts."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.codes import read_code_folder
from pipeline.contracts.descriptors import DISTRACTORS, WHOLE, WHOLE_HELD_OUT, read_folder, shards_of
from pipeline.contracts.descriptors import KIND as DESCRIPTORS
from pipeline.contracts.features.patches import patch_count
from pipeline.contracts.results import Counts, Results, places_of
from pipeline.search import part_passes
from pipeline.search.code_scan import count_labelled_codes, nearest_codes
from pipeline.search.distances import scoring
from pipeline.search.label_counts import compare_labelled
from pipeline.search.one_pass import search_and_count
from pipeline.search.params import SearchParameters
from pipeline.search.patch_boxes import PatchBoxes
from pipeline.search.patch_matching import nearest_patches
from pipeline.search.patch_scan import Shortlist, scan_patches, scan_shortlist
from pipeline.search.vector_scan import count_labelled, top_results
from pipeline.stage.catalogue import Box, GroundTruth
from pipeline.stage.fingerprint import fingerprint
from pipeline.stage.manifest import load_manifest

Rows = npt.NDArray[Any]
QUERIES_AT_ONCE = 1024
SCORES_AT_ONCE = 2**26
"""Scores of patches that are held: a quarter of a gibibyte, twice for a moment."""
COLUMNS_AT_ONCE = 4096


@dataclass(frozen=True)
class Search(ABC):
    """A database and a way to compare with it.

    Attributes:
        own, distractors: folders of the database's (and the queries') and of the distractors' rows.
        images: of both together.
    """

    own: Path
    distractors: Path
    images: int
    parameters: SearchParameters
    device: torch.device

    @abstractmethod
    def read(self, folder: Path, prefix: str) -> Iterator[tuple[list[str], Rows]]:
        """Blocks of (image ids, rows) of the files of a folder whose names start with `prefix`."""

    @abstractmethod
    def search(self, query_ids: list[str], queries: Rows, name: str, labelled: list[list[str]], k: int | None = None) -> tuple[Results, Counts]:
        """The first results and the counts of queries in a set of SETS.

        Args:
            k: results of each query; None for `top_k` of the parameters.
        """

    def located(self, queries: Rows, name: str, results: Results) -> Results:
        """The results of a search in a set with the box of each that is most like the query, where the rows can tell."""
        return results

    @property
    def queries_at_once(self) -> int:
        """Queries that are searched together."""
        return QUERIES_AT_ONCE

    def blocks(self, name: str) -> Iterator[tuple[list[str], Rows]]:
        """Of a set of SETS."""
        mixed_in = self.read(self.distractors, "distractors-") if name == "with_distractors" else iter(())
        return itertools.chain(self.read(self.own, "database-"), mixed_in)

    def queries(self, truth: GroundTruth) -> tuple[list[str], Rows]:
        """Ids and rows of the queries that have one, in the ground truth's order; no rows of any length where none has."""
        found = {image_id: row for ids, rows in self.read(self.own, "queries-") for image_id, row in zip(ids, rows, strict=True)}
        ids = [query for query in truth.queries if query in found]
        return ids, np.stack([found[query] for query in ids]) if ids else np.empty((0, 0), np.float32)


class DescriptorSearch(Search):
    """One descriptor per image, by `search.distance`."""

    def read(self, folder: Path, prefix: str) -> Iterator[tuple[list[str], Rows]]:
        return read_folder(folder, prefix)

    def search(self, query_ids: list[str], queries: Rows, name: str, labelled: list[list[str]], k: int | None = None) -> tuple[Results, Counts]:
        own, distance = torch.from_numpy(queries).to(self.device), self.parameters.distance_of(patches=False)
        k, score = k or self.parameters.top_k, scoring(distance)
        if self.images > part_passes.PART_IMAGES and len(parts := part_passes.parts_of(self._shards(name))) > 1:
            known = compare_labelled(own, lambda: self.read(self.own, "database-"), labelled, score)
            manifests = load_manifest(self.own, DESCRIPTORS), load_manifest(self.distractors, DISTRACTORS)
            found = part_passes.search_parts(own, known, parts, fingerprint(*(manifest.fingerprint for manifest in manifests)), k, distance)
            if found is not None:
                return found
        return search_and_count(own, lambda: self.blocks(name), labelled, k, score, lambda: self.read(self.own, "database-"))

    def _shards(self, name: str) -> list[Path]:
        """Of a set of SETS, in the order of `blocks`."""
        mixed_in = shards_of(self.distractors, "distractors-") if name == "with_distractors" else []
        return [*shards_of(self.own, "database-"), *mixed_in]


class PatchSearch(DescriptorSearch):
    """Several descriptors per image, by the distance of paper 1; every image is compared, or a shortlist.

    Attributes:
        boxes: where patches lie; without them no result is located.
    """

    boxes: PatchBoxes | None = None

    @property
    def queries_at_once(self) -> int:
        return QUERIES_AT_ONCE if self.parameters.shortlist else max(1, min(QUERIES_AT_ONCE, SCORES_AT_ONCE // max(self.images, 1)))

    def search(self, query_ids: list[str], queries: Rows, name: str, labelled: list[list[str]], k: int | None = None) -> tuple[Results, Counts]:
        own = torch.from_numpy(queries[:, : patch_count(self.parameters.query_levels)]).to(self.device)
        if self.parameters.shortlist is None:
            names, scores = scan_patches(own, lambda: self.blocks(name), self.parameters.distance_of(patches=True))
            return ranked(names, scores.cpu(), k or self.parameters.top_k, labelled)
        held_out = self._held_out() if self.parameters.index == "inverted" else None
        shortlist = scan_shortlist(own, lambda: self.blocks(name), self.parameters, self.images, held_out)
        return ranked_shortlist(shortlist, k or self.parameters.top_k, labelled)

    def located(self, queries: Rows, name: str, results: Results) -> Results:
        if self.boxes is None:
            return results
        distance, wanted = self.parameters.distance_of(patches=True), places_of(results.image_ids)
        found: list[list[Box | None]] = [[None] * len(ids) for ids in results.image_ids]
        for ids, patches in self.blocks(name):
            here: dict[int, list[tuple[int, int]]] = {}
            for place, image_id in enumerate(ids):
                for query, rank in wanted.get(image_id, ()):
                    here.setdefault(query, []).append((place, rank))
            for query, own in here.items():
                rows = torch.from_numpy(patches[[place for place, _ in own]]).to(self.device)
                whole = torch.from_numpy(queries[query, :1]).to(self.device).expand(len(own), -1)
                for (place, rank), patch in zip(own, nearest_patches(whole, rows, distance).tolist(), strict=True):
                    found[query][rank] = self.boxes.of(ids[place], patch)
        return replace(results, boxes=found)

    def _held_out(self) -> Rows:
        """One vector (H, D) per held-out image, by `search.candidates`."""
        kept = [rows[:, WHOLE[self.parameters.candidates]] for _, rows in self.read(self.own, f"{WHOLE_HELD_OUT}-")]
        return np.concatenate(kept) if kept else np.empty((0, 1), np.float32)


def ranked(names: list[str], scores: torch.Tensor, k: int, labelled: list[list[str]]) -> tuple[Results, Counts]:
    """Results and counts from the scores of all images (Q, N)."""
    columns = scores.T.numpy()

    def blocks() -> Iterator[tuple[list[str], Rows]]:
        for first in range(0, len(names), COLUMNS_AT_ONCE):
            yield names[first : first + COLUMNS_AT_ONCE], columns[first : first + COLUMNS_AT_ONCE]

    def transposed(_: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
        return block.T

    return top_results(scores, blocks, k, transposed), count_labelled(scores, blocks, labelled, transposed)


def ranked_shortlist(shortlist: Shortlist, k: int, labelled: list[list[str]]) -> tuple[Results, Counts]:
    """Results and counts among the images that were compared; labelled ones outside them have no count, as if they were not in the database."""
    ids, scores, pairs, counts = [], [], [], []
    for query, (places, own) in enumerate(zip(shortlist.places, shortlist.scores, strict=True)):
        kept = places >= 0
        places, own = places[kept], own[kept]
        order = np.argsort(-own, kind="stable")[:k]
        ids.append([shortlist.names[place] for place in places[order]])
        scores.append(own[order].tolist())
        wanted = set(labelled[query])
        for place, score in zip(places.tolist(), own, strict=True):
            if shortlist.names[place] in wanted:
                pairs.append((query, shortlist.names[place]))
                counts.append((score, int((own > score).sum()), int((own == score).sum())))
    table = np.array(counts, np.float64).reshape(-1, 3)
    own_scores, above, equal = table[:, 0].astype(np.float32), table[:, 1].astype(np.int64), table[:, 2].astype(np.int64)
    return Results(ids, scores, len(shortlist.names)), Counts(pairs, own_scores, above, equal)


class CodeSearch(Search):
    """Binary codes by Hamming distance, on the processor."""

    def read(self, folder: Path, prefix: str) -> Iterator[tuple[list[str], Rows]]:
        return read_code_folder(folder, prefix)

    def search(self, query_ids: list[str], queries: Rows, name: str, labelled: list[list[str]], k: int | None = None) -> tuple[Results, Counts]:
        top = nearest_codes(queries, lambda: self.blocks(name), k or self.parameters.top_k)
        return top, count_labelled_codes(queries, lambda: self.blocks(name), labelled)
