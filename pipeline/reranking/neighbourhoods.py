"""Re-ranking by the shortlist's own descriptors: k-reciprocal neighbours, diffusion, refined descriptors."""

from collections.abc import Callable

import numpy as np
import torch

from pipeline.reranking.shortlists import Reranker, Rescored, Shortlists

Scoring = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A query (D,) and its shortlist's descriptors (S, D) to scores (S,)."""


class Neighbourhoods(Reranker):
    """One query after the other, by a function of its shortlist's descriptors."""

    def __init__(self, score: Scoring) -> None:
        self.score = score

    def rescore(self, shortlists: Shortlists) -> Rescored:
        found = [self.score(query, own).cpu().numpy() for query, own in zip(shortlists.queries, shortlists.load_vectors(), strict=True)]
        return Rescored(np.stack(found).astype(np.float32, copy=False))
