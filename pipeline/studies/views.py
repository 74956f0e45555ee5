"""Random squares of an image and views that show them at another scale or place, one of the two at a time (paper 1, §4.1, fig. 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
SMALLEST = 16
"""Pixels of a square's side that are worth comparing."""


@dataclass(frozen=True)
class Views:
    """Pixels (h, w, 3) of a square, of one view per scale and of one per shift.

    Attributes:
        shown: what the square's image shows, its instance or its id.
    """

    shown: str
    square: Pixels
    scaled: list[Pixels]
    shifted: list[Pixels]


def side_of_square(width: int, height: int, scales: Sequence[float], shifts: Sequence[float]) -> int:
    """Pixels of the largest square of which every view lies inside an image."""
    reach = max(1.0, *scales) / 2
    return int(min(height, width) / (reach + max(reach, 0.5 + max(0.0, *shifts))))


def draw_views(shown: str, pixels: Pixels, scales: Sequence[float], shifts: Sequence[float], random: np.random.Generator) -> Views:
    """A square at a random place of an image (H, W, 3), as large as lets every view lie inside; the shifts go left or right, up or down."""
    height, width = pixels.shape[:2]
    reach, furthest = max(1.0, *scales), max(0.0, *shifts)
    side = side_of_square(width, height, scales, shifts)
    horizontal, sign = bool(random.integers(2)), 1 if random.integers(2) else -1
    room = [reach * side / 2, reach * side / 2]
    before, after = room.copy(), room.copy()
    along = 0 if horizontal else 1
    (after if sign > 0 else before)[along] = max(room[along], side / 2 + furthest * side)
    x, y = (random.uniform(before[axis], max(length - after[axis], before[axis])) for axis, length in enumerate((width, height)))
    shifted = [(x + sign * shift * side * horizontal, y + sign * shift * side * (not horizontal)) for shift in shifts]
    return Views(
        shown,
        _square(pixels, x, y, side),
        [_square(pixels, x, y, scale * side) for scale in scales],
        [_square(pixels, *centre, side) for centre in shifted],
    )


def _square(pixels: Pixels, x: float, y: float, side: float) -> Pixels:
    """The square around a centre, moved inside the image where rounding puts it a pixel outside."""
    height, width = pixels.shape[:2]
    length = max(1, min(round(side), height, width))
    left = min(max(round(x - length / 2), 0), width - length)
    top = min(max(round(y - length / 2), 0), height - length)
    return pixels[top : top + length, left : left + length]
