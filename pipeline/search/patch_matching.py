"""Distances between images that are sets of patches (paper 1, §4.2, eq. 3 and 4): exact, in memory that does not grow with the references."""

from collections.abc import Callable, Iterator

import torch

from pipeline.search.params import Distance

PRODUCTS_AT_ONCE = {"cpu": 2**19, "cuda": 2**27}
"""Patch pairs of one matrix product: on a processor what its cache holds."""
QUERY_ROWS_AT_ONCE = {"cpu": 2**10, "cuda": 2**16}
NEAR = 2e-3
"""Share of the two squared norms below which a squared distance is taken from the difference itself: products would lose it in rounding."""
VALUES_AT_ONCE = 2**22


def patch_distances(queries: torch.Tensor, references: torch.Tensor, distance: Distance = "l2") -> torch.Tensor:
    """D(q, r) = Σ over the query's patches of the minimum over the reference's patches of their distance.

    Args:
        queries: (Q, P, D) float32.
        references: (R, M, D) float32, on the same device.
        distance: `l2`, not squared; `squared_l2`; `l1`; or `dot`, where D is minus the sum of the largest products.

    Returns:
        (Q, R) float32; no more than a tile of the (Q·P, R·M) patch distances is held.

    Raises:
        ValueError: patches of different dimensions.
    """
    if queries.shape[2] != references.shape[2]:
        raise ValueError(f"patches of {queries.shape[2]} and of {references.shape[2]} dimensions cannot be compared")
    result = queries.new_empty(len(queries), len(references))
    kind = queries.device.type
    rows = max(1, QUERY_ROWS_AT_ONCE[kind] // max(queries.shape[1], 1))
    columns = max(1, PRODUCTS_AT_ONCE[kind] // (min(rows, max(len(queries), 1)) * max(queries.shape[1], 1)))
    for start in range(0, len(references), columns):
        block = references[start : start + columns].transpose(0, 1).contiguous()
        for first in range(0, len(queries), rows):
            own = queries[first : first + rows]
            nearest = _nearest(own.flatten(0, 1), block, distance).unflatten(0, own.shape[:2])
            total = result[first : first + rows, start : start + columns].zero_()
            for patch in range(own.shape[1]):  # in this order for every reference, so that equal ones stay equal
                total += nearest[:, patch]
    return result


def nearest_patches(queries: torch.Tensor, references: torch.Tensor, distance: Distance) -> torch.Tensor:
    """Which patch of each reference (n, M, D) is nearest to its query (n, D): (n,) int64, of equal ones the first."""
    if distance == "dot":
        far = -(references * queries[:, None]).sum(dim=2)
    else:
        apart = references - queries[:, None]
        far = apart.abs().sum(dim=2) if distance == "l1" else apart.square().sum(dim=2)
    return (far == far.amin(dim=1, keepdim=True)).to(torch.uint8).argmax(dim=1)


def _nearest(rows: torch.Tensor, block: torch.Tensor, distance: Distance) -> torch.Tensor:
    """Query patches (n, D) and references patch by patch (M, R, D) to each reference's least distance (n, R)."""
    if distance == "l1":
        return _running(torch.minimum, (torch.cdist(rows, patch, p=1) for patch in block))
    if distance == "dot":
        return -_running(torch.maximum, (rows @ patch.T for patch in block))
    lengths = block.square().sum(dim=2)
    least = _running(torch.minimum, (torch.addmm(length, rows, patch.T, alpha=-2) for length, patch in zip(lengths, block, strict=True)))
    own = rows.square().sum(dim=1, keepdim=True)
    if distance not in ("l2", "squared_l2"):
        raise ValueError(f"distance {distance!r} is unknown; there are: dot, l2, squared_l2, l1")
    squared = least.add_(own).clamp_(min=0)
    _mend_near(squared, rows, block, (own + lengths.amax(dim=0)) * NEAR)
    return squared if distance == "squared_l2" else squared.sqrt_()


def _running(better: Callable[..., torch.Tensor], tiles: Iterator[torch.Tensor]) -> torch.Tensor:
    """The elementwise extremum of tiles, of which two are held."""
    result = next(tiles)
    for tile in tiles:
        better(result, tile, out=result)
    return result


def _mend_near(squared: torch.Tensor, rows: torch.Tensor, block: torch.Tensor, limit: torch.Tensor) -> None:
    """Replace the squared distances (n, R) below the limit by those of the differences, in place."""
    near = (squared < limit).nonzero()
    for part in near.split(max(1, VALUES_AT_ONCE // (block.shape[0] * block.shape[2]))):
        row, column = part.unbind(dim=1)
        squared[row, column] = (block[:, column] - rows[row]).square().sum(dim=2).amin(dim=0)
