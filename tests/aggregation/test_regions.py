"""R-MAC regions against a transcription of the rule in plain Python, and the known counts."""

import math

import pytest
import torch

from pipeline.aggregation.regions import regional_max, rmac_regions


def plain_regions(height: int, width: int, levels: int) -> list[tuple[int, int, int, int]]:
    """The published rule, centre by centre."""
    shorter, longer = min(height, width), max(height, width)
    overlaps = {n: (shorter**2 - shorter * (longer - shorter) / n) / shorter**2 for n in range(1, 7)}
    extra = min(overlaps, key=lambda n: (abs(overlaps[n] - 0.4), n)) if longer > shorter else 0
    regions = []
    for level in range(1, levels + 1):
        side = math.floor(2 * shorter / (level + 1))
        if side == 0:
            continue
        half = math.floor(side / 2 - 1)
        starts = []
        for length in (height, width):
            count = level + (extra if length == longer and height != width else 0)
            step = (length - side) / (count - 1) if count > 1 else 0
            starts.append([math.floor(half + i * step) - half for i in range(count)])
        regions += [(y, x, side, side) for y in starts[0] for x in starts[1]]
    return regions


@pytest.mark.parametrize(("height", "width", "count"), [(24, 32, 20), (24, 24, 14), (12, 32, 32), (7, 7, 14), (16, 9, 20)])
def test_known_counts(height: int, width: int, count: int) -> None:
    assert len(rmac_regions(height, width)) == count


@pytest.mark.parametrize("size", [(24, 32), (32, 24), (7, 7), (16, 9), (5, 40), (1, 9), (2, 2), (1, 1), (13, 14)])
@pytest.mark.parametrize("levels", [1, 3, 5])
def test_regions_are_those_of_the_rule_and_lie_inside(size: tuple[int, int], levels: int) -> None:
    regions = rmac_regions(*size, levels=levels)
    assert [tuple(region) for region in regions.tolist()] == plain_regions(*size, levels)
    assert (regions[:, :2] >= 0).all()
    assert (regions[:, 0] + regions[:, 2]).max() <= size[0]
    assert (regions[:, 1] + regions[:, 3]).max() <= size[1]


def test_regional_max() -> None:
    maps = torch.randn(2, 3, 9, 16, generator=torch.Generator().manual_seed(0))
    regions = rmac_regions(9, 16)
    pooled = regional_max(maps, regions)
    assert pooled.shape == (2, len(regions), 3)
    for index, (y, x, height, width) in enumerate(regions.tolist()):
        for channel in range(3):
            assert pooled[1, index, channel] == max(maps[1, channel, j, i] for j in range(y, y + height) for i in range(x, x + width))
