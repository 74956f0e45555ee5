"""Picture arithmetic in integers, so that every processor gives the same bytes: sines, blurs, perspective, blending.

Floating-point sums and products of whole arrays round differently from one processor to the next; integers do not. Single
numbers are Python's own, whose sums, products, quotients and roots are the same everywhere.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Levels = npt.NDArray[np.int16]
"""Red, green and blue levels (3, H, W) with FRACTION binary digits after the point."""
FRACTION = 4
WHITE = 255 << FRACTION
TURN = 4096
"""Steps of a full turn in `sines`."""
UNIT = 1 << 14
"""What 1 is in `sines`, and in weights."""
POSITION = 5
GRID = 1 << POSITION
"""Parts of a pixel in which positions are given."""
TERMS = 12
BITS = 48


def sine(angle: float) -> float:
    """Of an angle in radians, by the first terms of its series; exact to 1e-9 between −3.2 and 3.2."""
    term = total = angle
    for n in range(1, TERMS):
        term *= -angle * angle / ((2 * n) * (2 * n + 1))
        total += term
    return total


def cosine(angle: float) -> float:
    """See `sine`."""
    term = total = 1.0
    for n in range(1, TERMS):
        term *= -angle * angle / ((2 * n - 1) * (2 * n))
        total += term
    return total


@cache
def sines() -> Ints:
    """(TURN,) sines of a full turn, UNIT for 1."""
    half = [round(UNIT * sine(math.pi * step / (TURN // 2))) for step in range(TURN // 2)]
    return np.array([*half, *(-value for value in half)], np.int32)


def smoothed(levels: Levels, passes: int) -> Levels:
    """(3, H, W) blurred by the kernel (1 2 1)/4 in both directions, so many times: a Gaussian of variance passes / 2."""
    for _ in range(passes):
        for axis in (1, 2):
            levels = _binomial(levels, axis)
    return levels


def _binomial(levels: Levels, axis: int) -> Levels:
    rows = np.moveaxis(levels, axis, 0)
    result = 2 * rows + 2
    result[1:] += rows[:-1]
    result[:1] += rows[:1]
    result[:-1] += rows[1:]
    result[-1:] += rows[-1:]
    return np.moveaxis(result >> 2, 0, axis)


def boxed(values: Ints, radius: int) -> Ints:
    """Means of (2·radius + 1)² pixels of (H, W), twice, which is nearly a Gaussian; beyond the border the border goes on."""
    width = 2 * radius + 1
    for axis in (0, 1, 0, 1):
        padding = [(radius + 1, radius) if each == axis else (0, 0) for each in range(values.ndim)]
        sums = np.moveaxis(np.pad(values, padding, mode="edge").cumsum(axis=axis, dtype=np.int32), axis, 0)
        values = np.moveaxis((sums[width:] - sums[:-width] + radius) // width, 0, axis)
    return values


def laid(texture: Levels, corners: Sequence[tuple[int, int]], width: int, height: int) -> tuple[slice, slice, Ints, Ints]:
    """A texture (3, h, w) of whole levels, seen in perspective.

    Args:
        corners: where its corners go, clockwise from the top left, in parts of a pixel (GRID).
        width, height: pixels of the picture it is laid into.

    Returns:
        The rows and columns that it touches, its colours there (3, …) and how much of each pixel it covers (…), 0 to 255.
    """
    xs, ys = zip(*corners, strict=True)
    columns = slice(max(min(xs) // GRID - 1, 0), min(max(xs) // GRID + 2, width))
    rows = slice(max(min(ys) // GRID - 1, 0), min(max(ys) // GRID + 2, height))
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return slice(0, 0), slice(0, 0), np.zeros((3, 0, 0), np.int32), np.zeros((0, 0), np.int32)
    x = np.arange(columns.start, columns.stop) * GRID + GRID // 2
    y = np.arange(rows.start, rows.stop)[:, None] * GRID + GRID // 2
    u, v, w = (a * x + b * y + c for a, b, c in _inverse(corners))
    w = np.where(w == 0, 1, w)
    tall, wide = texture.shape[1:]
    across, down = u * (wide * GRID) // w - GRID // 2, v * (tall * GRID) // w - GRID // 2
    return rows, columns, *_sampled(texture, across, down)


def _sampled(texture: Levels, across: Longs, down: Longs) -> tuple[Ints, Ints]:
    """Colours between the four nearest texels, and their cover; beyond the texture there is nothing."""
    tall, wide = texture.shape[1:]
    padded = np.zeros((4, tall + 3, wide + 3), np.int32)
    padded[:3, 1 : tall + 1, 1 : wide + 1] = texture
    padded[3, 1 : tall + 1, 1 : wide + 1] = 255
    seen = np.flatnonzero((across > -GRID) & (across < wide * GRID) & (down > -GRID) & (down < tall * GRID))
    x, y = across.ravel()[seen].astype(np.int32), down.ravel()[seen].astype(np.int32)
    right, lower = x & GRID - 1, y & GRID - 1
    place = ((y >> POSITION) + 1) * (wide + 3) + (x >> POSITION) + 1
    mixed = np.zeros((4, across.size), np.int32)
    for own, channel in zip(mixed, padded.reshape(4, -1), strict=True):
        upper_row = channel[place] * (GRID - right) + channel[place + 1] * right
        lower_row = channel[place + wide + 3] * (GRID - right) + channel[place + wide + 4] * right
        own[seen] = (upper_row * (GRID - lower) + lower_row * lower) >> 2 * POSITION
    shaped = mixed.reshape(4, *across.shape)
    return shaped[:3], shaped[3]


def _inverse(corners: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """The map from places to (u, v) in the unit square, as rows of whole numbers of at most BITS binary digits after a product with a place
    (Heckbert, 1989, §2.2.3)."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    scale = dx1 * dy2 - dx2 * dy1
    g, h = sx * dy2 - dx2 * sy, dx1 * sy - sx * dy1
    a, b, c = (x1 - x0) * scale + g * x1, (x3 - x0) * scale + h * x3, x0 * scale
    d, e, f = (y1 - y0) * scale + g * y1, (y3 - y0) * scale + h * y3, y0 * scale
    rows = [
        (e * scale - f * h, c * h - b * scale, b * f - c * e),
        (f * g - d * scale, a * scale - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    ]
    largest = max(max(abs(row[0]), abs(row[1])) * 2**15 + abs(row[2]) for row in rows)
    shift = max(0, largest.bit_length() - BITS)
    return [(p >> shift, q >> shift, r >> shift) for p, q, r in rows]
