"""How well the place of an object is found in a result: the overlap of the box that the search found and the one that the source gives.

A result in which the search looks for no place is taken whole, as if the object filled it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.stage.catalogue import CORNERS, Box, CatalogueRow
from pipeline.stage.tables import open_table

WHOLE = (0.0, 0.0, 1.0, 1.0)


class Overlaps:
    """Intersection over union of results with the objects that they show, 0 to 1.

    Args:
        ranking: of `RANKING_SCHEMA`; images behind its last are taken whole.
        catalogue: rows of the benchmark's images.
        asked_for: by (query_id, image_id), the object that the query asks for, in pixels, where the image shows several.
    """

    def __init__(self, ranking: Path, catalogue: Iterable[CatalogueRow], asked_for: Mapping[tuple[str, str], Box]) -> None:
        rows = {row.image_id: row for row in catalogue if row.role == "database"}
        self._objects = {image_id: share for image_id, row in rows.items() if (share := _in_shares(row.box, row))}
        self._asked_for = {pair: share for pair, box in asked_for.items() if pair[1] in rows and (share := _in_shares(box, rows[pair[1]]))}
        self._found: dict[tuple[str, str], Box] = {}
        if self._objects or self._asked_for:
            columns = open_table(ranking, "ranking").read(columns=["query_id", "image_id", *CORNERS]).drop_null().to_pydict()
            for query, image_id, *box in zip(*columns.values(), strict=True):
                self._found[query, image_id] = (box[0], box[1], box[2], box[3])

    def of(self, query_id: str, image_id: str) -> float | None:
        """Of one result; None where the source does not say where the image shows its object."""
        shown = self._asked_for.get((query_id, image_id)) or self._objects.get(image_id)
        return None if shown is None else intersection_over_union(self._found.get((query_id, image_id), WHOLE), shown)


def intersection_over_union(one: Box, other: Box) -> float:
    """Of two boxes x0, y0, x1, y1; 0 where they do not touch."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (_area(one) + _area(other) - width * height)


def localised_precision(precisions: npt.NDArray[np.float64], overlaps: npt.NDArray[np.float64], n_positive: int) -> float:
    """LocScore: the mean over all positives of the precision at their rank times their overlap (Choi et al., WACV 2026, §4).

    Args:
        precisions, overlaps: (n,) of the positives in the database; others count as 0.
    """
    return float((precisions * overlaps).sum() / n_positive)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _in_shares(box: Box | None, row: CatalogueRow) -> Box | None:
    """A box in pixels of the row's image in shares of its sides, inside the image; None where it covers nothing of it."""
    if box is None or not row.width or not row.height:
        return None
    x0, y0, x1, y1 = (min(max(edge / side, 0.0), 1.0) for edge, side in zip(box, (row.width, row.height) * 2, strict=True))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
