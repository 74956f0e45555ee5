"""Paper 1, equations 1 to 4, written as loops over plain NumPy."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def plain_patches(width: int, height: int, levels: int) -> list[tuple[float, ...]]:
    """Equations 1 and 2, and the clipping."""
    rows: list[tuple[float, ...]] = []
    for level in range(1, levels + 1):
        wide, high = 2 * width / (level + 1), 2 * height / (level + 1)
        side = max(wide, high)
        for i in range(1, level + 1):
            for j in range(1, level + 1):
                x, y = wide / 2, high / 2
                if level != 1:
                    x += (i - 1) * (width - wide) / (level - 1)
                    y += (j - 1) * (height - high) / (level - 1)
                corners = max(0.0, x - side / 2), max(0.0, y - side / 2), min(width, x + side / 2), min(height, y + side / 2)
                rows.append((float(level), *corners))
    return rows


def plain_pool(feature_map: npt.NDArray[Any], window: tuple[int, int, int, int], grid: int) -> Floats:
    """Every location of the window belongs to the cells whose span touches it."""
    y0, x0, height, width = window
    pooled = np.full((len(feature_map), grid, grid), -np.inf)
    for row in range(grid):
        for column in range(grid):
            for y in range(height):
                for x in range(width):
                    in_rows = y + 1 > row * height / grid and y < (row + 1) * height / grid
                    in_columns = x + 1 > column * width / grid and x < (column + 1) * width / grid
                    if in_rows and in_columns:
                        pooled[:, row, column] = np.maximum(pooled[:, row, column], feature_map[:, y0 + y, x0 + x])
    return pooled.reshape(-1)


def plain_distances(queries: npt.NDArray[Any], references: npt.NDArray[Any], distance: str) -> Floats:
    """Equations 3 and 4."""
    result = np.zeros((len(queries), len(references)))
    for q, query in enumerate(queries.astype(np.float64)):
        for r, reference in enumerate(references.astype(np.float64)):
            for patch in query:
                values = []
                for other in reference:
                    difference = patch - other
                    values.append(
                        {
                            "l2": float(np.sqrt((difference**2).sum())),
                            "squared_l2": float((difference**2).sum()),
                            "l1": float(np.abs(difference).sum()),
                            "dot": -float(patch @ other),
                        }[distance]
                    )
                result[q, r] += min(values)
    return result
