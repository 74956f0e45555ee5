"""Search that goes on after comparing every descriptor: augmented database, expanded queries, re-ranked shortlists."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch

from pipeline.contracts.results import Counts, Results
from pipeline.reranking.content import Content
from pipeline.reranking.expansion import augment_database, augment_within_instances, average_instances, expand_queries
from pipeline.reranking.params import ShortlistParameters
from pipeline.reranking.registry import build_reranker
from pipeline.reranking.shortlists import Reranker, Rescored, Shortlists, merge
from pipeline.search.distances import scoring
from pipeline.search.plain_search import QUERIES_AT_ONCE, DescriptorSearch, Rows
from pipeline.search.vector_scan import Blocks, count_labelled, top_results, vectors_of

VALUES_AT_ONCE = 2**26
"""Of the shortlists' descriptors: a quarter of a gibibyte."""
BLOCK = 4096


@dataclass(frozen=True)
class RefinedSearch(DescriptorSearch):
    """Descriptors of whole images, refined as `search.augmentation`, `expansion` and `rerank` say.

    Attributes:
        content: where re-ranking finds photographs and maps.
        instances: what database images show, by id, for averaging.
    """

    content: Content
    instances: Mapping[str, str]
    _augmented: dict[str, tuple[list[str], Rows]] = field(default_factory=dict)

    @property
    def queries_at_once(self) -> int:
        chosen = self.parameters.rerank.chosen
        gathered = min(max(chosen.shortlist if chosen else 1, self.parameters.expansion.results), self.images)
        dimensions = next((rows.shape[1] for _, rows in self.read(self.own, "queries-")), 1)
        return max(1, min(QUERIES_AT_ONCE, VALUES_AT_ONCE // (gathered * dimensions)))

    @cached_property
    def reranker(self) -> Reranker:
        """The way of re-ranking, made once for all queries; only where there is one."""
        assert self.parameters.rerank.chosen is not None
        return build_reranker(self.parameters.rerank.chosen, self.content)

    def blocks(self, name: str) -> Iterator[tuple[list[str], Rows]]:
        """Of a set of SETS, augmented where that is asked for; then the set is held in memory."""
        own = self.parameters.augmentation
        if not own.used:
            yield from super().blocks(name)
            return
        if name not in self._augmented:
            self._augmented.clear()
            names, rows = self._held(super().blocks(name))
            vectors = torch.from_numpy(rows).to(self.device)
            self._augmented[name] = names, self._augment(names, vectors).cpu().numpy()
        names, kept = self._augmented[name]
        for first in range(0, len(names), BLOCK):
            yield names[first : first + BLOCK], kept[first : first + BLOCK]

    def _augment(self, names: list[str], vectors: torch.Tensor) -> torch.Tensor:
        """By neighbours, or by what an image shows; one that shows nothing known, as distractors do, stays as it is."""
        own = self.parameters.augmentation
        if own.neighbours:
            return augment_database(vectors, own.neighbours, own.weights, own.alpha)
        numbers = {instance: number for number, instance in enumerate(sorted(set(self.instances.values())))}
        alone = len(numbers)
        labels = torch.tensor([numbers.get(self.instances.get(name, ""), alone + place) for place, name in enumerate(names)], device=vectors.device)
        match own.instances:
            case "weighted":
                return augment_within_instances(vectors, labels)
            case "mean":
                means, found = average_instances(vectors, labels)
                return means[torch.searchsorted(found, labels)]
            case _:
                raise ValueError(f"instances {own.instances!r} of an augmentation is unknown; there are: mean, weighted")

    def _held(self, blocks: Iterator[tuple[list[str], Rows]]) -> tuple[list[str], Rows]:
        """All image ids and rows of a set."""
        names: list[str] = []
        held: Rows = np.empty((0, 0), np.float32)
        for ids, rows in blocks:
            held = np.empty((self.images, rows.shape[1]), np.float32) if not names else held
            held[len(names) : len(names) + len(ids)] = rows
            names += ids
        return names, held[: len(names)]

    def search(self, query_ids: list[str], queries: Rows, name: str, labelled: list[list[str]], k: int | None = None) -> tuple[Results, Counts]:
        score, blocks = scoring(self.parameters.distance_of(patches=False)), partial(self.blocks, name)
        own = self._expanded(torch.from_numpy(queries).to(self.device), blocks)
        chosen, k = self.parameters.rerank.chosen, k or self.parameters.top_k
        first = top_results(own, blocks, max(k, chosen.shortlist) if chosen else k, score)
        counts = count_labelled(own, blocks, labelled, score)
        if chosen is None:
            return first, counts
        length = min(chosen.shortlist, first.size)
        heads = [ids[:length] for ids in first.image_ids]
        scores = np.array([values[:length] for values in first.scores], np.float32)
        shortlists = Shortlists(query_ids, own, heads, scores, lambda: vectors_of(blocks, heads, own))
        rescored = self.reranker.rescore(shortlists)
        return merge(first, counts, length, compared_again(chosen, shortlists, rescored), k)

    def _expanded(self, queries: torch.Tensor, blocks: Blocks) -> torch.Tensor:
        """The queries after their rounds of expansion, each of which searches everything."""
        own = self.parameters.expansion
        for _ in range(own.rounds if own.results else 0):
            found = top_results(queries, blocks, own.results, scoring(self.parameters.distance_of(patches=False)))
            queries = expand_queries(queries, vectors_of(blocks, found.image_ids, queries), own.weights, own.alpha)
        return queries


def compared_again(parameters: ShortlistParameters, shortlists: Shortlists, rescored: Rescored) -> Rescored:
    """Paper 2's query expansion: the mean of the query and the first re-ranked descriptors (of boxes), compared with the shortlist alone."""
    count = min(parameters.averaged, rescored.scores.shape[1])
    if not count:
        return rescored
    vectors = shortlists.load_vectors() if rescored.vectors is None else rescored.vectors
    first = torch.from_numpy(np.argsort(-rescored.scores, axis=1, kind="stable")[:, :count].copy()).to(vectors.device)
    chosen = vectors[torch.arange(len(vectors), device=vectors.device)[:, None], first]
    scores = torch.einsum("qsd,qd->qs", vectors, expand_queries(shortlists.queries, chosen))
    return replace(rescored, scores=scores.cpu().numpy())
