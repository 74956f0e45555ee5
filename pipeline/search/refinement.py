"""What follows the first comparison: expanded queries and re-ranked shortlists, over any way to find images and to read their descriptors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from pipeline.contracts.results import Counts, Results
from pipeline.reranking.expansion import expand_queries
from pipeline.reranking.params import ShortlistParameters
from pipeline.reranking.shortlists import Reranker, Rescored, Shortlists, merge
from pipeline.search.params import SearchParameters


@dataclass(frozen=True)
class Refinement:
    """Attributes:
    reranker: None where nothing is re-ranked.
    top: the first k results of queries (Q, D).
    read: the descriptors (Q, S, D) of Q lists of S images, like some queries.
    """

    parameters: SearchParameters
    reranker: Reranker | None
    top: Callable[[torch.Tensor, int], Results]
    read: Callable[[Sequence[Sequence[str]], torch.Tensor], torch.Tensor]

    def expanded(self, queries: torch.Tensor) -> torch.Tensor:
        """The queries after their rounds of expansion, each of which searches everything."""
        own = self.parameters.expansion
        for _ in range(own.rounds if own.results else 0):
            found = self.top(queries, own.results)
            queries = expand_queries(queries, self.read(found.image_ids, queries), own.weights, own.alpha)
        return queries

    def first(self, queries: torch.Tensor, k: int) -> Results:
        """The results that re-ranking starts from, or the first k."""
        chosen = self.parameters.rerank.chosen
        return self.top(queries, max(k, chosen.shortlist) if chosen else k)

    def reranked(self, query_ids: list[str], queries: torch.Tensor, first: Results, counts: Counts, k: int) -> tuple[Results, Counts]:
        """The first k results after re-ranking, and counts that agree with them."""
        chosen = self.parameters.rerank.chosen
        if chosen is None or self.reranker is None:
            return first, counts
        length = min(chosen.shortlist, first.size, *map(len, first.image_ids))  # an index may find fewer
        heads = [ids[:length] for ids in first.image_ids]
        scores = np.array([values[:length] for values in first.scores], np.float32)
        shortlists = Shortlists(query_ids, queries, heads, scores, lambda: self.read(heads, queries))
        rescored = self.reranker.rescore(shortlists)
        return merge(first, counts, length, compared_again(chosen, shortlists, rescored), k)


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
