"""One pass over a database of patches: the scores of all its images, or of a shortlist that a whole-image index makes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.search.indexes import fill_index
from pipeline.search.params import Distance, SearchParameters
from pipeline.search.patch_matching import patch_distances
from pipeline.search.whole_images import whole_image

PatchBlocks = Callable[[], Iterator[tuple[list[str], npt.NDArray[np.float32]]]]
"""Starts a fresh pass over the database: (image ids, patches (n, M, D)) block by block."""
Places = npt.NDArray[np.int64]
VALUES_AT_ONCE = 2**26
"""Of shortlisted patches: a quarter of a gibibyte."""


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


@dataclass(frozen=True)
class Shortlist:
    """What a two-step search compared.

    Attributes:
        names: the ids of all images of the database.
        places: (Q, S) of each query's shortlist in `names`, ascending; −1 where there are fewer.
        scores: (Q, S) float32, minus the patch distance; −∞ at −1.
    """

    names: list[str]
    places: Places
    scores: npt.NDArray[np.float32]


def scan_shortlist(
    queries: torch.Tensor, blocks: PatchBlocks, parameters: SearchParameters, images: int, held_out: npt.NDArray[np.float32] | None = None
) -> Shortlist:
    """The same for the images of each query's shortlist alone.

    The first pass fills an index with one vector per image, the second compares the patches of those that it finds.

    Args:
        images: of the database.
        held_out: (H, D) vectors that inverted lists are learned on.
    """
    names: list[str] = []

    def vectors() -> Iterator[npt.NDArray[np.float32]]:
        for ids, patches in blocks():
            names.extend(ids)
            yield whole_image(patches, parameters.candidates)

    index = fill_index(vectors(), parameters.index, parameters.probes, images, held_out)
    if index is None:
        return Shortlist(names, np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32))
    own = whole_image(queries.cpu().numpy(), parameters.candidates)
    found = np.sort(index.search(own, min(parameters.shortlist or len(names), len(names)))[1], axis=1)
    return Shortlist(names, found, compare_places(queries, blocks, found, parameters.distance_of(patches=True)))


def compare_places(queries: torch.Tensor, blocks: PatchBlocks, found: Places, distance: Distance) -> npt.NDArray[np.float32]:
    """Minus the patch distances of each query (Q, P, D) to the database places `found` (Q, S) by any index; −∞ where it says −1."""
    scores = np.full(found.shape, -np.inf, np.float32)
    for places, patches in _gathered(blocks, np.unique(found)):
        block = torch.from_numpy(patches).to(queries.device)
        for query, own in enumerate(found):
            here = np.flatnonzero(np.isin(own, places))
            if len(here):
                rows = torch.from_numpy(np.searchsorted(places, own[here])).to(block.device)
                scores[query, here] = -patch_distances(queries[query : query + 1], block[rows], distance)[0].cpu().numpy()
    return scores


def _gathered(blocks: PatchBlocks, wanted: Places) -> Iterator[tuple[Places, npt.NDArray[np.float32]]]:
    """The patches (n, M, D) of the wanted places, which ascend, with those places: as many together as fit into VALUES_AT_ONCE."""
    held: list[tuple[Places, npt.NDArray[np.float32]]] = []
    offset = size = 0
    for ids, patches in blocks():
        own = wanted[(wanted >= offset) & (wanted < offset + len(ids))]
        if len(own):
            held.append((own, patches[own - offset]))
            size += held[-1][1].size
        if size > VALUES_AT_ONCE:
            yield _joined(held)
            held, size = [], 0
        offset += len(ids)
    if held:
        yield _joined(held)


def _joined(held: list[tuple[Places, npt.NDArray[np.float32]]]) -> tuple[Places, npt.NDArray[np.float32]]:
    places, patches = zip(*held, strict=True)
    return np.concatenate(places), np.concatenate(patches)
