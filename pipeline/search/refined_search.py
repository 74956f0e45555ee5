"""Search that goes on after comparing every descriptor: augmented database, expanded queries, re-ranked shortlists."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch

from pipeline.contracts.results import Counts, Results
from pipeline.reranking.content import Content
from pipeline.reranking.registry import build_reranker
from pipeline.reranking.shortlists import Reranker
from pipeline.search.augmented_rows import augmented_rows, in_blocks
from pipeline.search.distances import scoring
from pipeline.search.plain_search import QUERIES_AT_ONCE, DescriptorSearch, Rows
from pipeline.search.refinement import Refinement
from pipeline.search.vector_scan import count_labelled, top_results, vectors_of

VALUES_AT_ONCE = 2**26
"""Of the shortlists' descriptors: a quarter of a gibibyte."""


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
    def reranker(self) -> Reranker | None:
        """The way of re-ranking, made once for all queries; None where there is none."""
        chosen = self.parameters.rerank.chosen
        return build_reranker(chosen, self.content) if chosen else None

    def blocks(self, name: str) -> Iterator[tuple[list[str], Rows]]:
        """Of a set of SETS, augmented where that is asked for; then the set is held in memory."""
        own = self.parameters.augmentation
        if not own.used:
            yield from super().blocks(name)
            return
        if name not in self._augmented:
            self._augmented.clear()
            self._augmented[name] = augmented_rows(super().blocks(name), self.images, own, self.instances, self.device)
        yield from in_blocks(*self._augmented[name])

    def search(self, query_ids: list[str], queries: Rows, name: str, labelled: list[list[str]], k: int | None = None) -> tuple[Results, Counts]:
        score, blocks = scoring(self.parameters.distance_of(patches=False)), partial(self.blocks, name)
        refinement = Refinement(
            self.parameters,
            self.reranker,
            lambda own, count: top_results(own, blocks, count, score),
            lambda ids, like: vectors_of(blocks, ids, like),
        )
        k = k or self.parameters.top_k
        own = refinement.expanded(torch.from_numpy(queries).to(self.device))
        first = refinement.first(own, k)
        return refinement.reranked(query_ids, own, first, count_labelled(own, blocks, labelled, score), k)
