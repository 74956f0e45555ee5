"""One pass over a database of patches: the scores of all its images, or of a shortlist that a whole-image index makes."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from pipeline.search.indexes import build_index
from pipeline.search.params import Distance, SearchParameters
from pipeline.search.patch_matching import patch_distances

PatchBlocks = Callable[[], Iterator[tuple[list[str], npt.NDArray[np.float32]]]]
"""Starts a fresh pass over the database: (image ids, patches (n, M, D)) block by block."""
NOT_COMPARED = -np.inf


def scan_patches(queries: torch.Tensor, blocks: PatchBlocks, distance: Distance) -> tuple[list[str], torch.Tensor]:
    """Minus the patch distance of every query to every image.

    Args:
        queries: (Q, P, D) float32, on the device to compute on.

    Returns:
        The image ids, and (Q, N) float32.
    """
    names: list[str] = []
    scores: list[torch.Tensor] = []
    for ids, patches in blocks():
        names += ids
        scores.append(-patch_distances(queries, torch.from_numpy(patches.copy()).to(queries.device), distance))
    return names, torch.cat(scores, dim=1) if scores else queries.new_empty(len(queries), 0)


def scan_shortlist(queries: torch.Tensor, blocks: PatchBlocks, parameters: SearchParameters) -> tuple[list[str], torch.Tensor]:
    """The same for the images of each query's shortlist alone; the others score NOT_COMPARED.

    The first pass fills an index with one vector per image, the second compares the patches of those that it finds.
    """
    names: list[str] = []
    vectors: list[npt.NDArray[np.float32]] = []
    for ids, patches in blocks():
        names += ids
        vectors.append(whole_image(torch.from_numpy(patches.copy()), parameters.candidates).numpy())
    scores = queries.new_full((len(queries), len(names)), NOT_COMPARED)
    if not names:
        return names, scores
    index = build_index(np.concatenate(vectors), parameters.index, parameters.probes)
    own = whole_image(queries.cpu(), parameters.candidates).numpy()
    found = index.search(np.ascontiguousarray(own), min(parameters.shortlist or len(names), len(names)))[1]
    score_pairs(scores, queries, blocks, found, parameters.distance_of(patches=True))
    return names, scores


def score_pairs(scores: torch.Tensor, queries: torch.Tensor, blocks: PatchBlocks, found: npt.NDArray[np.int64], distance: Distance) -> None:
    """Fill in the scores (Q, N) of the database places `found` (Q, S) of each query; −1 stands for none."""
    offset = 0
    for ids, patches in blocks():
        inside = (found >= offset) & (found < offset + len(ids))
        block = torch.from_numpy(patches.copy()).to(queries.device) if inside.any() else None
        for query in np.flatnonzero(inside.any(axis=1)):
            places = torch.from_numpy(found[query][inside[query]]).to(queries.device)
            if block is not None:
                scores[query, places] = -patch_distances(queries[query : query + 1], block[places - offset], distance)[0]
        offset += len(ids)


def whole_image(patches: torch.Tensor, how: str) -> torch.Tensor:
    """One vector per image from its patches (N, P, D): the first, which is the whole image, or the sum of all; l2-normalised, (N, D)."""
    vectors = patches[:, 0] if how == "whole_image" else patches.sum(dim=1)
    return torch.nn.functional.normalize(vectors, dim=1)
