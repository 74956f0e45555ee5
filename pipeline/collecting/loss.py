"""What an index costs against comparing every row: the exact first results that it misses, and the mAP of both."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.search.database import Database
from pipeline.stage.catalogue import GroundTruth

DEPTHS = (1, 10, 100)
RELEVANT = {"good", "ok", "easy", "hard"}
AT_ONCE = 64


def measure_loss(database: Database, queries: Iterator[tuple[list[str], npt.NDArray[Any]]], truth: GroundTruth) -> dict[str, float]:
    """`recall_K`: the share of the exact first K results that the index finds among its own first K; `map` and `exact_map` of the first
    DEPTHS[-1] results, by the plain rule. Means over the queries, of mAP over those that have a positive; a query that is an image of the
    database does not count as its own result."""
    exact = database.exact()
    labels: dict[str, dict[str, str]] = {}
    for query, image_id, relevance in truth.rows:
        labels.setdefault(query, {})[image_id] = relevance
    measured: list[list[float]] = []
    for ids, rows in queries:
        for first in range(0, len(ids), AT_ONCE):
            own = np.ascontiguousarray(rows[first : first + AT_ONCE])
            found, wanted = (each.top(own, DEPTHS[-1] + 1).image_ids for each in (database, exact))
            for query, *both in zip(ids[first : first + AT_ONCE], found, wanted, strict=True):
                got, right = ([image_id for image_id in each if image_id != query][: DEPTHS[-1]] for each in both)
                recalls = [len(set(got[:depth]) & set(right[:depth])) / max(len(right[:depth]), 1) for depth in DEPTHS]
                measured.append([*recalls, *(_precision(each, labels.get(query, {})) for each in (got, right))])
    table = np.array(measured, np.float64).reshape(-1, len(DEPTHS) + 2)
    counted = np.maximum((~np.isnan(table)).sum(axis=0), 1)
    means = np.nansum(table, axis=0) / counted
    names = [*(f"recall_{depth}" for depth in DEPTHS), "map", "exact_map"]
    return dict(zip(names, means.tolist(), strict=True))


def _precision(ranking: list[str], labels: dict[str, str]) -> float:
    """The mean over the positives of the precision at their rank; those that are not in the ranking give 0, junk is left out. NaN without any."""
    positives = {image_id for image_id, relevance in labels.items() if relevance in RELEVANT}
    if not positives:
        return float("nan")
    hits = np.array([image_id in positives for image_id in ranking if image_id not in labels or image_id in positives], np.float64)
    return float((hits * hits.cumsum() / np.arange(1, len(hits) + 1)).sum() / max(len(positives), 1))
