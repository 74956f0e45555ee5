"""Where the patches of an image lie, in its pixels and on its feature maps: overlapping squares (paper 1, §4.1, eq. 1 and 2), or grids."""

import math
from collections.abc import Callable

import torch

from pipeline.contracts.features.feature_parameters import PatchLayout

ROUNDING = 1e-9
"""Of a cell: a centre this near to a border counts as lying on it."""


def patches_of(layout: PatchLayout, width: float, height: float, levels: int) -> torch.Tensor:
    """The patches of levels 1 to L by a layout; (n, 5) float64, n = Σ l²: level, x0, y0, x1, y1. That of level 1 is the whole image.

    Raises:
        ValueError: an image without pixels, or no level.
    """
    return LAYOUTS[layout](width, height, levels)


def multi_resolution_patches(width: float, height: float, levels: int) -> torch.Tensor:
    """The patches of levels 1 to L: at level l, l² squares of side max(2w/(l+1), 2h/(l+1)), clipped to the image.

    The centres of a level lie at (w_l/2 + (i−1)·b_w, h_l/2 + (j−1)·b_h) with w_l = 2w/(l+1), b_w = (w−w_l)/(l−1), and so for h;
    rows come in the order of the levels, then of i, then of j. The patch of level 1 is the whole image.

    Args:
        width, height: pixels.

    Returns:
        (n, 5) float64, n = Σ l²: level, x0, y0, x1, y1.

    Raises:
        ValueError: an image without pixels, or no level.
    """
    if min(width, height, levels) < 1:
        raise ValueError(f"patches need an image of 1×1 pixels and one level at least, got {width}×{height} and {levels}")
    rows = []
    for level in range(1, levels + 1):
        own_width, own_height = 2 * width / (level + 1), 2 * height / (level + 1)
        half = max(own_width, own_height) / 2
        rows += [
            (level, max(x - half, 0), max(y - half, 0), min(x + half, width), min(y + half, height))
            for x in _centres(own_width, width, level)
            for y in _centres(own_height, height, level)
        ]
    return torch.tensor(rows, dtype=torch.float64)


def grid_patches(width: float, height: float, levels: int) -> torch.Tensor:
    """The patches of levels 1 to L: at level l the l×l cells of a grid, which share the image among them (Choi et al., WACV 2026, §3).

    Rows come in the order of the levels, then from left to right, then from top to bottom.

    Returns:
        As `multi_resolution_patches`.
    """
    if min(width, height, levels) < 1:
        raise ValueError(f"patches need an image of 1×1 pixels and one level at least, got {width}×{height} and {levels}")
    rows = [
        (level, x * width / level, y * height / level, (x + 1) * width / level, (y + 1) * height / level)
        for level in range(1, levels + 1)
        for x in range(level)
        for y in range(level)
    ]
    return torch.tensor(rows, dtype=torch.float64)


LAYOUTS: dict[str, Callable[[float, float, int], torch.Tensor]] = {"squares": multi_resolution_patches, "grid": grid_patches}


def _centres(own: float, whole: float, level: int) -> list[float]:
    step = (whole - own) / (level - 1) if level > 1 else 0.0
    return [own / 2 + index * step for index in range(level)]


def level_scale(patches: torch.Tensor, level: int, side: int) -> float:
    """The factor on an image's sides that brings the patches of a level to side² pixels, on average where the image clips some."""
    own = patches[patches[:, 0] == level]
    areas = (own[:, 3] - own[:, 1]) * (own[:, 4] - own[:, 2])
    return side / math.sqrt(float(areas.mean()))


def windows_on_map(boxes: torch.Tensor, width: int, height: int, map_height: int, map_width: int) -> torch.Tensor:
    """The cells of a map whose centres lie in boxes of the image; at least one per box, and never one outside the map.

    Args:
        boxes: (n, 4): x0, y0, x1, y1 in pixels of an image of `width` × `height`.

    Returns:
        (n, 4) int64: y, x, height, width.
    """
    size = torch.tensor([map_width, map_height], dtype=torch.float64)
    ratio = size / torch.tensor([width, height], dtype=torch.float64)
    corners = boxes.to(torch.float64).reshape(-1, 2, 2) * ratio
    nearest = (corners - 0.5 - ROUNDING).ceil()
    first = torch.minimum(nearest[:, 0].clamp(min=0), size - 1)
    last = torch.maximum(torch.minimum(nearest[:, 1], size), first + 1)
    return torch.cat([first.flip(1), (last - first).flip(1)], dim=1).to(torch.int64)
