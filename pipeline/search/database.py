"""The rows of a collection, memory-mapped: what is nearest to a question, exactly or through an index whose candidates are compared again."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from pipeline.contracts.collection_rows import open_rows
from pipeline.contracts.collections import INDEX, SHORTLIST_ROWS, IndexFacts, map_rows, removed_images
from pipeline.contracts.features.patches import patch_count
from pipeline.contracts.features.product_codes import CodedRows, ProductCodes
from pipeline.contracts.results import Results
from pipeline.search.candidate_index import load_index
from pipeline.search.distances import scoring
from pipeline.search.params import SearchParameters
from pipeline.search.patch_boxes import PatchBoxes
from pipeline.search.patch_matching import nearest_patches, patch_distances
from pipeline.search.vector_scan import Score, dot, merge_results
from pipeline.search.whole_images import whole_image

Rows = npt.NDArray[Any]
Held = npt.NDArray[Any] | CodedRows
"""Rows that may be decoded only as far as they are looked at."""
Places = npt.NDArray[np.int64]
BLOCK, CODES_AT_ONCE = 2**16, 2**20
MORE = 32
"""Rows that are compared again beyond those that are wanted."""
AS_NEAR = 1e-5
"""Difference of two products that rounding can make, as a share."""
VALUES_AT_ONCE = 2**26
"""Of patches: a quarter of a gibibyte."""


class Database:
    """Rows and the names of the images that they describe.

    Args:
        folder: of a version of the collection.
        kind: of its index.
        names: the ids of the rows' images, a column of text.
        codes: what its patches are held as; None where it holds what is compared.

    Attributes:
        removed_ids, removed: images that are no answer, and their rows.
        boxes: where patches lie; without them results have no boxes.
    """

    boxes: PatchBoxes | None = None

    def __init__(
        self,
        folder: Path,
        kind: IndexFacts,
        names: pa.ChunkedArray,
        parameters: SearchParameters,
        device: torch.device,
        codes: ProductCodes | None = None,
    ) -> None:
        self.kind, self.names, self.parameters, self.device = kind, names, parameters, device
        self.rows = open_rows(folder, codes)
        self.shortlist_rows = map_rows(folder / SHORTLIST_ROWS) if (folder / SHORTLIST_ROWS).exists() else None
        self.index = None if kind.kind == "flat" else load_index(folder / INDEX, codes=self.rows.dtype == np.uint8)
        self.removed_ids = removed_images(folder)
        self.removed: Places = rows_of(names, self.removed_ids)
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def exact(self) -> "Database":
        """The same rows without the index: every one is compared."""
        own = copy.copy(self)
        own.index, own._places = None, {}
        return own

    def top(self, queries: Rows, k: int) -> Results:
        """The k nearest images of each query, best first; of equal ones those that stand earlier.

        Args:
            queries: (Q, D) float32 descriptors, (Q, P, D) float32 patches, or (Q, B) uint8 codes.
        """
        scores, places = self._nearest_rows(queries, k + len(self.removed))
        if len(self.removed):
            kept = [np.flatnonzero(~np.isin(own, self.removed))[:k] for own in places]
            scores = [own[left] for own, left in zip(scores, kept, strict=True)]
            places = [own[left] for own, left in zip(places, kept, strict=True)]
        results = self._results(scores, places)
        if self.boxes is None:
            return results
        boxes = []
        for query, ids, own in zip(queries, results.image_ids, places, strict=True):
            whole = torch.from_numpy(query[:1]).to(self.device).expand(len(own), -1)
            nearest = nearest_patches(whole, torch.from_numpy(self.rows[own]).to(self.device), self.parameters.distance_of(patches=True))
            boxes.append([self.boxes.of(image_id, patch) for image_id, patch in zip(ids, nearest.tolist(), strict=True)])
        return replace(results, boxes=boxes)

    def _nearest_rows(self, queries: Rows, k: int) -> tuple[Sequence[npt.NDArray[np.float32]], Sequence[Places]]:
        """Of each query the scores and places of the k nearest rows, removed ones among them."""
        if isinstance(self.rows, np.ndarray) and self.rows.dtype == np.uint8:
            return self._nearest_codes(queries, self.rows, k)
        if self.rows.ndim == 3:
            return self._nearest_patches(torch.from_numpy(queries).to(self.device), k)
        own, score = torch.from_numpy(queries).to(self.device), scoring(self.parameters.distance_of(patches=False))
        return self._nearest(own, k, score)

    def read(self, image_ids: Sequence[Sequence[str]], like: torch.Tensor) -> torch.Tensor:
        """The descriptors (Q, S, D) of Q lists of S images that `top` found."""
        found = like.new_zeros(len(image_ids), max(map(len, image_ids), default=0), self.rows.shape[1])
        for query, ids in enumerate(image_ids):
            places = np.array([self._places[image_id] for image_id in ids], np.int64)
            found[query, : len(ids)] = torch.from_numpy(self.rows[places]).to(like)
        return found

    def place(self, image_id: str) -> int:
        """The row of an image that `top` found."""
        return self._places[image_id]

    def _results(self, scores: Sequence[npt.NDArray[np.float32]], places: Sequence[Places]) -> Results:
        ids = []
        for own in places:
            names = self.names.take(pa.array(own)).to_pylist()
            self._places.update(zip(names, own.tolist(), strict=True))
            ids.append(names)
        return Results(ids, [own.tolist() for own in scores], len(self) - len(self.removed))

    def _nearest(self, queries: torch.Tensor, k: int, score: Score) -> tuple[list[npt.NDArray[np.float32]], list[Places]]:
        if self.index is None:
            if score is dot and self.device.type == "cpu" and isinstance(self.rows, np.ndarray):
                return highest_products(queries, self.rows, k, score)
            return every_row_compared(queries, self.rows, k, score)
        wanted = min(max(k, self.kind.candidates + len(self.removed)), len(self))
        found = self.index.search(queries.cpu().numpy(), wanted)[1]

        def compared(query: int, places: Places) -> torch.Tensor:
            return score(queries[query : query + 1], torch.from_numpy(self.rows[places]).to(self.device))[0]

        return _best_of_candidates(found, compared, k)

    def _nearest_patches(self, queries: torch.Tensor, k: int) -> tuple[list[npt.NDArray[np.float32]], list[Places]]:
        """All images' patches are compared, or those of a shortlist by their whole images."""
        distance, queries = self.parameters.distance_of(patches=True), queries[:, : patch_count(self.parameters.query_levels)]

        def score(own: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
            return -patch_distances(own, patches, distance)

        if self.shortlist_rows is None:
            return every_row_compared(queries, self.rows, k, score)
        whole, wanted = whole_image(queries.cpu().numpy(), self.parameters.candidates), self._shortlist
        if self.index is None:
            found = np.stack(every_row_compared(torch.from_numpy(whole).to(self.device), self.shortlist_rows, wanted, scoring("dot"))[1])
        else:
            found = self.index.search(whole, wanted)[1]

        def compared(query: int, places: Places) -> torch.Tensor:
            return score(queries[query : query + 1], torch.from_numpy(self.rows[places]).to(self.device))[0]

        return _best_of_candidates(found, compared, k)

    @property
    def _shortlist(self) -> int:
        """Images whose patches are compared; those that were removed take no place of another."""
        return min(self.parameters.shortlist + len(self.removed), len(self)) if self.parameters.shortlist else len(self)

    def _nearest_codes(self, queries: Rows, rows: Rows, k: int) -> tuple[list[npt.NDArray[np.float32]], list[Places]]:
        """Codes whose parts are looked up may find fewer than k; where they find none, every code is compared."""
        queries, count = np.ascontiguousarray(queries), min(k, len(self))
        distances, places = self.index.search(queries, count) if self.index is not None else _nearest_by_hamming(queries, rows, count)
        scores, found = [], []
        for query in range(len(queries)):
            own_places, own = places[query], distances[query]
            if self.index is not None and (own_places < 0).all():
                nearest = _nearest_by_hamming(queries[query : query + 1], rows, count)
                own, own_places = nearest[0][0], nearest[1][0]
            own, own_places = own[own_places >= 0], own_places[own_places >= 0]
            order = np.lexsort((own_places, own))
            scores.append(-own[order].astype(np.float32))
            found.append(own_places[order].astype(np.int64))
        return scores, found


def rows_of(names: pa.ChunkedArray, image_ids: set[str]) -> Places:
    """Where images stand, in order."""
    if not image_ids:
        return np.empty(0, np.int64)
    return np.flatnonzero(pc.is_in(names, pa.array(sorted(image_ids), pa.string())).to_numpy(zero_copy_only=False))


def every_row_compared(queries: torch.Tensor, rows: Held, k: int, score: Score) -> tuple[list[npt.NDArray[np.float32]], list[Places]]:
    """The k best rows of each query, by comparing all of them block by block."""
    scores = queries.new_empty(len(queries), 0)
    places = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    at_once = BLOCK if rows.ndim == 2 else max(1, VALUES_AT_ONCE // int(np.prod(rows.shape[1:])))
    for first, block in _blocks(rows, at_once):
        values, own = best_of(score(queries, torch.from_numpy(block).to(queries.device)), k)
        scores, places = merge_results(scores, places, values, own + first, k)
    return list(scores.cpu().numpy()), list(places.cpu().numpy())


def highest_products(queries: torch.Tensor, rows: Rows, k: int, score: Score) -> tuple[list[npt.NDArray[np.float32]], list[Places]]:
    """The same for products on a processor: faiss names some more rows than are wanted, which are compared again. Where those that are left out
    may be as near as the last result, every row is compared."""
    import faiss

    wanted = min(k + MORE, len(rows))
    library: Any = faiss  # its stubs leave out the array functions
    found_scores, found = library.knn(np.ascontiguousarray(queries.numpy()), rows, wanted, metric=faiss.METRIC_INNER_PRODUCT)

    def compared(query: int, places: Places) -> torch.Tensor:
        return score(queries[query : query + 1], torch.from_numpy(rows[places]))[0]

    scores, places = _best_of_candidates(found, compared, k)
    for query, own in enumerate(scores):
        if wanted < len(rows) and own[-1] - found_scores[query, -1] <= AS_NEAR * max(1.0, abs(own[-1])):
            (scores[query],), (places[query],) = every_row_compared(queries[query : query + 1], rows, k, score)
    return scores, places


def best_of(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k best of (Q, n) scores and their places (Q, min(k, n)), best first; of equal ones the earlier, without sorting all of them."""
    k = min(k, scores.shape[1])
    least = scores.topk(k, dim=1).values[:, -1:]
    places = []
    for own, limit in zip(scores, least, strict=True):
        above, equal = (own > limit).nonzero()[:, 0], (own == limit).nonzero()[:, 0]
        kept = torch.cat([above, equal[: k - len(above)]])
        places.append(kept[own[kept].argsort(descending=True, stable=True)])
    found = torch.stack(places)
    return scores.gather(1, found), found


def _blocks(rows: Held, size: int) -> Iterator[tuple[int, Rows]]:
    for first in range(0, len(rows), size):
        yield first, rows[first : first + size]


def _best_of_candidates(found: Places, compared: Callable[[int, Places], torch.Tensor], k: int) -> tuple[list[npt.NDArray[np.float32]], list[Places]]:
    """Candidates (Q, n) of an index, −1 where there are fewer, in the order of their exact scores."""
    scores, places = [], []
    for query, row in enumerate(found):
        own = np.sort(row[row >= 0])
        values, order = best_of(compared(query, own)[None], k) if len(own) else (torch.empty(1, 0), torch.empty(1, 0, dtype=torch.int64))
        scores.append(values[0].cpu().numpy())
        places.append(own[order[0].cpu().numpy()])
    return scores, places


def _nearest_by_hamming(queries: Rows, rows: Rows, k: int) -> tuple[npt.NDArray[np.int32], Places]:
    """Distances and places (Q, k) of the nearest codes, by comparing every one; of equal ones the earlier."""
    import faiss

    library: Any = faiss  # its stubs leave out the array functions
    distances = np.empty((len(queries), 0), np.int32)
    places = np.empty((len(queries), 0), np.int64)
    for first, block in _blocks(rows, CODES_AT_ONCE):
        own, at = library.knn_hamming(queries, np.ascontiguousarray(block), min(k, len(block)))
        distances, places = np.concatenate([distances, own], axis=1), np.concatenate([places, at + first], axis=1)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances, places = np.take_along_axis(distances, order, axis=1), np.take_along_axis(places, order, axis=1)
    return distances, places
