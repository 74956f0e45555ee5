"""What is searched: descriptors of images, those of their patches, or binary codes; each gives the first results and the exact counts."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.catalogue import GroundTruth
from pipeline.contracts.codes import read_code_folder
from pipeline.contracts.descriptors import read_folder
from pipeline.search.distances import scoring
from pipeline.search.exact import Counts, Results, count_labelled, top_results
from pipeline.search.hamming import count_labelled_codes, nearest_codes
from pipeline.search.params import SearchParameters
from pipeline.search.patch_scan import NOT_COMPARED, scan_patches, scan_shortlist

Rows = npt.NDArray[Any]
QUERIES_AT_ONCE = 1024
SCORES_AT_ONCE = 2**28
"""Scores of patches that are held: a gibibyte."""


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
    def search(self, queries: Rows, name: str, labelled: list[list[str]]) -> tuple[Results, Counts]:
        """The first results and the counts of queries in a set of SETS."""

    @property
    def queries_at_once(self) -> int:
        """Queries that are searched together."""
        return QUERIES_AT_ONCE

    def blocks(self, name: str) -> Iterator[tuple[list[str], Rows]]:
        """Of a set of SETS."""
        mixed_in = self.read(self.distractors, "distractors-") if name == "with_distractors" else iter(())
        return itertools.chain(self.read(self.own, "database-"), mixed_in)

    def queries(self, truth: GroundTruth) -> tuple[list[str], Rows | None]:
        """Ids and rows of the queries that have one, in the ground truth's order."""
        found = {image_id: row for ids, rows in self.read(self.own, "queries-") for image_id, row in zip(ids, rows, strict=True)}
        ids = [query for query in truth.queries if query in found]
        return ids, np.stack([found[query] for query in ids]) if ids else None


class DescriptorSearch(Search):
    """One descriptor per image, by `search.distance`."""

    def read(self, folder: Path, prefix: str) -> Iterator[tuple[list[str], Rows]]:
        return read_folder(folder, prefix)

    def search(self, queries: Rows, name: str, labelled: list[list[str]]) -> tuple[Results, Counts]:
        own, score = torch.from_numpy(queries).to(self.device), scoring(self.parameters.distance_of(patches=False))
        top = top_results(own, lambda: self.blocks(name), self.parameters.top_k, score)
        return top, count_labelled(own, lambda: self.blocks(name), labelled, score)


class PatchSearch(DescriptorSearch):
    """Several descriptors per image, by the distance of paper 1; every image is compared, or a shortlist."""

    @property
    def queries_at_once(self) -> int:
        return max(1, min(QUERIES_AT_ONCE, SCORES_AT_ONCE // max(self.images, 1)))

    def search(self, queries: Rows, name: str, labelled: list[list[str]]) -> tuple[Results, Counts]:
        own = torch.from_numpy(queries).to(self.device)
        if self.parameters.shortlist is None:
            names, scores = scan_patches(own, lambda: self.blocks(name), self.parameters.distance_of(patches=True))
        else:
            names, scores = scan_shortlist(own, lambda: self.blocks(name), self.parameters)
        return ranked(names, scores.cpu(), self.parameters.top_k, labelled)


def ranked(names: list[str], scores: torch.Tensor, k: int, labelled: list[list[str]]) -> tuple[Results, Counts]:
    """Results and counts from all scores (Q, N); images that were not compared are not counted as found."""
    columns = scores.T.numpy()

    def transposed(_: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
        return block.T

    top = top_results(scores, lambda: iter([(names, columns)]), k, transposed)
    counts = count_labelled(scores, lambda: iter([(names, columns)]), labelled, transposed)
    compared = counts.scores != NOT_COMPARED
    pairs = [pair for pair, kept in zip(counts.pairs, compared, strict=True) if kept]
    return top, Counts(pairs, counts.scores[compared], counts.above[compared], counts.equal[compared])


class CodeSearch(Search):
    """Binary codes by Hamming distance, on the processor."""

    def read(self, folder: Path, prefix: str) -> Iterator[tuple[list[str], Rows]]:
        return read_code_folder(folder, prefix)

    def search(self, queries: Rows, name: str, labelled: list[list[str]]) -> tuple[Results, Counts]:
        top = nearest_codes(queries, lambda: self.blocks(name), self.parameters.top_k)
        return top, count_labelled_codes(queries, lambda: self.blocks(name), labelled)
