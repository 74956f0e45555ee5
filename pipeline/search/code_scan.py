"""Exact search of packed codes in blocks: the first k results, and exact counts for labelled images; the score is minus the Hamming distance."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.codes import Codes
from pipeline.contracts.results import Counts, Results
from pipeline.search.distances import hamming_distances
from pipeline.search.indexes import build_index
from pipeline.search.vector_scan import labelled_pairs, merge_results, names_at

CodeBlocks = Callable[[], Iterator[tuple[list[str], Codes]]]
"""Starts a fresh pass over the database: (image ids, codes (n, B)) block by block, in the same blocks each time."""


def nearest_codes(queries: Codes, blocks: CodeBlocks, k: int) -> Results:
    """The k database images with the least Hamming distance to each query (Q, B); of equal ones those that stand earlier."""
    scores = torch.empty(len(queries), 0)
    places = torch.empty(len(queries), 0, dtype=torch.int64)
    offset = 0
    for ids, codes in blocks():
        distances, found = build_index(codes).search(np.ascontiguousarray(queries), min(k, len(codes)))
        scores, places = merge_results(scores, places, -torch.from_numpy(distances).float(), torch.from_numpy(found) + offset, k)
        offset += len(ids)
    names = names_at(blocks, set(places.flatten().tolist()))
    return Results([[names[place] for place in row] for row in places.tolist()], scores.tolist(), offset)


def count_labelled_codes(queries: Codes, blocks: CodeBlocks, labelled: Sequence[Sequence[str]]) -> Counts:
    """Rank labelled images by counting how many codes lie at each distance of each query: one pass, ties exact.

    Args:
        queries: (Q, B).
        labelled: for each query, the ids of its labelled images.
    """
    histogram = np.zeros((len(queries), 8 * queries.shape[1] + 1), np.int64)
    pairs: list[tuple[int, str]] = []
    own: list[npt.NDArray[np.int32]] = []
    wanted = labelled_pairs(labelled)
    for ids, codes in blocks():
        distances = hamming_distances(queries, codes)
        for row, counts in zip(distances, histogram, strict=True):
            counts += np.bincount(row, minlength=len(counts))
        found = [(query, column) for column, image_id in enumerate(ids) if image_id in wanted for query in wanted[image_id]]
        if found:
            rows, columns = zip(*found, strict=True)
            own.append(distances[rows, columns])
            pairs += [(query, ids[column]) for query, column in found]
    distance = np.concatenate(own) if own else np.empty(0, np.int32)
    rows_of = np.array([query for query, _ in pairs], np.int64)
    nearer = np.cumsum(histogram, axis=1) - histogram
    return Counts(pairs, -distance.astype(np.float32), nearer[rows_of, distance], histogram[rows_of, distance])
