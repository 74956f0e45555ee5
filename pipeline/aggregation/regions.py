"""Regions of feature maps."""

import math

import torch

from pipeline.patches.geometry import multi_resolution_patches
from pipeline.patches.pooling import spatial_max_pool

__all__ = ["multi_resolution_patches", "regional_max", "rmac_regions", "spatial_max_pool"]
LARGEST_EXTRA = 6


def rmac_regions(height: int, width: int, levels: int = 3, overlap: float = 0.4) -> torch.Tensor:
    """The square regions of R-MAC (Tolias et al., 2016, §3.2; paper 2, §4.2) as the authors' code places them.

    At level l the side is ⌊2w/(l+1)⌋ with w the map's shorter side; l positions along the shorter and l + n along the longer
    side, spread evenly and rounded down, n in 1…6 chosen so that the overlap at level 1 is nearest to `overlap`.

    Returns:
        (n, 4) int64: y, x, height, width.
    """
    shorter, longer = min(height, width), max(height, width)
    extra = _extra_steps(shorter, longer, overlap) if longer > shorter else 0
    regions = []
    for level in range(1, levels + 1):
        side = 2 * shorter // (level + 1)
        if side == 0:
            continue
        rows = _positions(height - side, level + (extra if height > width else 0))
        columns = _positions(width - side, level + (extra if width > height else 0))
        regions += [(y, x, side, side) for y in rows for x in columns]
    return torch.tensor(regions, dtype=torch.int64).reshape(-1, 4)


def _extra_steps(shorter: int, longer: int, overlap: float) -> int:
    distances = [abs(1 - (longer - shorter) / steps / shorter - overlap) for steps in range(1, LARGEST_EXTRA + 1)]
    return 1 + distances.index(min(distances))


def _positions(span: int, count: int) -> list[int]:
    return [math.floor(index * span / (count - 1)) if count > 1 else 0 for index in range(count)]


def regional_max(maps: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """Maximum of every region.

    Args:
        maps: (B, K, H, W).
        regions: (n, 4): y, x, height, width.

    Returns:
        (B, n, K).
    """
    return torch.stack([maps[:, :, y : y + h, x : x + w].amax(dim=(2, 3)) for y, x, h, w in regions.tolist()], dim=1)
