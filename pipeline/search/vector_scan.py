"""Exact search in blocks by any score: the first k results, and exact counts for labelled images; nothing of the database's length is kept."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.results import Counts, Results, places_of

Blocks = Callable[[], Iterator[tuple[list[str], npt.NDArray[np.float32]]]]
"""Starts a fresh pass over the database: (image ids, vectors (n, D)) block by block, in the same blocks each time."""
Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Queries (Q, …) and a block's vectors (n, …) on one device to scores (Q, n), higher is better."""


def as_tensor(rows: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Rows that are only read, without copying them where they are on the processor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nobody may write into them
        return torch.from_numpy(rows).to(device)


def dot(queries: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Products of (Q, D) and (n, D)."""
    return queries @ vectors.T


def top_results(queries: torch.Tensor, blocks: Blocks, k: int, score: Score = dot) -> Results:
    """The k database images with the highest score for each query.

    Args:
        queries: (Q, D) float32, on the device to compute on.
    """
    scores = queries.new_empty(len(queries), 0)
    places = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    offset = 0
    for ids, vectors in blocks():
        block = score(queries, as_tensor(vectors, queries.device))
        found, at = block.sort(dim=1, descending=True, stable=True)
        scores, places = merge_results(scores, places, found[:, :k], at[:, :k] + offset, k)
        offset += len(ids)
    names = names_at(blocks, set(places.flatten().tolist()))
    return Results([[names[place] for place in row] for row in places.tolist()], scores.tolist(), offset)


def merge_results(
    scores: torch.Tensor, places: torch.Tensor, new_scores: torch.Tensor, new_places: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k best of two sets of results (Q, …), equal scores by place."""
    all_places, order = torch.cat([places, new_places], dim=1).sort(dim=1)
    all_scores = torch.cat([scores, new_scores], dim=1).gather(1, order)
    best = all_scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return all_scores.gather(1, best), all_places.gather(1, best)


def vectors_of(blocks: Blocks, image_ids: Sequence[Sequence[str]], like: torch.Tensor) -> torch.Tensor:
    """The vectors (Q, S, D) of Q lists of S images of the database, of the type and on the device of `like`."""
    places = places_of(image_ids)
    found = like.new_zeros(len(image_ids), max(map(len, image_ids), default=0), like.shape[-1])
    for ids, vectors in blocks():
        wanted = [(query, place, column) for column, image_id in enumerate(ids) if image_id in places for query, place in places[image_id]]
        if wanted:
            queries, slots, columns = (torch.tensor(values, device=like.device) for values in zip(*wanted, strict=True))
            found[queries, slots] = as_tensor(vectors, like.device).to(like)[columns]
    return found


def names_at(blocks: Callable[[], Iterator[tuple[list[str], Any]]], places: set[int]) -> dict[int, str]:
    """The image ids at places of the database."""
    names: dict[int, str] = {}
    offset = 0
    for ids, _ in blocks():
        names.update((offset + index, name) for index, name in enumerate(ids) if offset + index in places)
        offset += len(ids)
    return names


def count_labelled(queries: torch.Tensor, blocks: Blocks, labelled: Sequence[Sequence[str]], score: Score = dot) -> Counts:
    """Rank labelled images by counting: no list of the database's length is sorted, ties stay visible.

    Args:
        queries: (Q, D) float32.
        labelled: for each query, the ids of its labelled images.
    """
    pairs, scores = _labelled_scores(queries, blocks, labelled, score)
    width = max(map(len, labelled), default=0)
    table = torch.full((len(queries), max(width, 1)), float("inf"), device=queries.device)
    order = np.lexsort((scores, np.array([query for query, _ in pairs], np.int64))) if pairs else np.empty(0, np.int64)
    rows = np.array([pairs[index][0] for index in order], np.int64)
    columns = np.arange(len(rows)) - np.searchsorted(rows, rows)
    table[torch.from_numpy(rows), torch.from_numpy(columns)] = torch.from_numpy(scores[order]).to(queries.device)
    above, at_least = _count(queries, blocks, table, score)
    result_above, result_equal = np.empty(len(pairs), np.int64), np.empty(len(pairs), np.int64)
    result_above[order] = above[rows, columns]
    result_equal[order] = at_least[rows, columns] - above[rows, columns]
    return Counts(pairs, scores, result_above, result_equal)


def labelled_pairs(labelled: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """The queries of each labelled image, from the labelled images of each query."""
    wanted: dict[str, list[int]] = {}
    for query, ids in enumerate(labelled):
        for image_id in ids:
            wanted.setdefault(image_id, []).append(query)
    return wanted


def _labelled_scores(
    queries: torch.Tensor, blocks: Blocks, labelled: Sequence[Sequence[str]], score: Score
) -> tuple[list[tuple[int, str]], npt.NDArray[np.float32]]:
    """Scores of the labelled pairs that the database holds, taken from the same products that are counted."""
    wanted = labelled_pairs(labelled)
    pairs: list[tuple[int, str]] = []
    scores: list[npt.NDArray[np.float32]] = []
    for ids, vectors in blocks():
        found = [(query, column) for column, image_id in enumerate(ids) if image_id in wanted for query in wanted[image_id]]
        if found:
            block = score(queries, as_tensor(vectors, queries.device))
            rows, columns = (torch.tensor(values, device=queries.device) for values in zip(*found, strict=True))
            scores.append(block[rows, columns].cpu().numpy())
            pairs += [(query, ids[column]) for query, column in found]
    return pairs, np.concatenate(scores) if scores else np.empty(0, np.float32)


def _count(queries: torch.Tensor, blocks: Blocks, table: torch.Tensor, score: Score) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For every entry of the table (Q, L; rows ascending): how many database scores are above it, and how many are at least it."""
    buckets = table.shape[1] + 1
    below = torch.zeros(len(queries), buckets, dtype=torch.int64, device=queries.device)
    up_to = torch.zeros_like(below)
    for _, vectors in blocks():
        block = score(queries, as_tensor(vectors, queries.device)).contiguous()
        ones = torch.ones_like(block, dtype=torch.int64)
        below.scatter_add_(1, torch.searchsorted(table, block), ones)
        up_to.scatter_add_(1, torch.searchsorted(table, block, right=True), ones)
    above, at_least = (counts.flip(1).cumsum(1).flip(1)[:, 1:].cpu().numpy() for counts in (below, up_to))
    return above, at_least
