"""Photographing a picture on a museum wall: perspective, distance, neighbours, visitors, light, blur and noise, from a random generator.

Every processor gives the same photograph: the pixels are integers, and only whole numbers are drawn (acquisition.exact_pixels).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.acquisition.exact_pixels import FRACTION, GRID, TURN, UNIT, WHITE, Ints, Levels, Longs, boxed, cosine, laid, sine, sines, smoothed
from pipeline.stage.catalogue import Box

Pixels = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 512, 384
CELL = 32
"""Pixels between two dents of the plaster."""


class Dice:
    """Draws that are the same on every processor."""

    def __init__(self, *seed: int) -> None:
        self.random = np.random.default_rng(list(seed))

    def whole(self, low: int, high: int) -> int:
        """From low to high − 1."""
        return int(self.random.integers(low, high))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * (self.whole(0, 1 << 30) / (1 << 30))

    def chance(self, share: float) -> bool:
        return self.between(0, 1) < share

    def normal(self) -> float:
        """Nearly normal, of variance 1: the sum of twelve even draws."""
        return int(self.random.integers(0, 1 << 16, 12).sum()) / (1 << 16) - 6

    def colour(self, low: int, high: int) -> Ints:
        """(3, 1, 1) levels from low to high − 1."""
        return self.random.integers(low, high, (3, 1, 1), np.int32)


@dataclass(frozen=True)
class Photo:
    """A photograph (HEIGHT, WIDTH, 3) uint8 RGB, and the box around the visible part of the picture."""

    pixels: Pixels
    box: Box


def photograph(picture: Pixels, dice: Dice) -> Photo:
    """One photograph of a hanging picture (h, w, 3)."""
    wall = _wall(dice)
    for _ in range(dice.whole(0, 4)):
        _hang(wall, _abstract_painting(dice), _corners(dice, dice.between(0.2, 0.5), spread=0.75), dice)
    aspect = picture.shape[1] / picture.shape[0]
    height = 0.35 * 1.0724 ** dice.whole(0, 18)  # from 0.35 to 1.15 in equal ratios
    corners = _corners(dice, height, spread=0.27, aspect=aspect)
    _hang(wall, picture.transpose(2, 0, 1).astype(np.int16), corners, dice)
    _visitors(wall, corners, dice)
    xs, ys = ([position // GRID for position in axis] for axis in zip(*corners, strict=True))
    x0, y0 = min(max(min(xs), 0), WIDTH - 2), min(max(min(ys), 0), HEIGHT - 2)
    x1, y1 = max(min(max(xs), WIDTH), x0 + 2), max(min(max(ys), HEIGHT), y0 + 2)
    return Photo(_camera(wall, dice), (float(x0), float(y0), float(x1), float(y1)))


def _wall(dice: Dice) -> Levels:
    """A plastered, panelled or papered wall."""
    base = (dice.colour(60, 235) * 2 + dice.whole(60, 235) * 3 << FRACTION) // 5
    wall = np.empty((3, HEIGHT, WIDTH), np.int32)
    wall[:] = base
    dents = dice.random.integers(-UNIT, UNIT + 1, (HEIGHT // CELL, WIDTH // CELL), np.int32)
    plaster = _doubled(boxed(_doubled(dents, CELL // 2), CELL // 4), 2)
    wall += plaster * dice.whole(3 << FRACTION, 34 << FRACTION) // UNIT
    if dice.chance(0.5):
        x, y = np.arange(WIDTH, dtype=np.int32), np.arange(HEIGHT, dtype=np.int32)[:, None]
        angle, period = dice.between(-1.57, 1.57), dice.whole(10, 60)
        along, across = round(TURN * cosine(angle) / period * 256), round(TURN * sine(angle) / period * 256)
        stripes = sines()[(x * along + y * across) // 256 & TURN - 1]
        if dice.chance(0.5):
            stripes = stripes * sines()[(x * across - y * along) // 256 & TURN - 1] // UNIT
        wall += stripes * (dice.whole(4 << FRACTION, 30 << FRACTION) * dice.colour(77, 256)) // (256 * UNIT)
    return wall.clip(0, WHITE).astype(np.int16)


def _doubled(values: Ints, times: int) -> Ints:
    """Each pixel of (H, W) as a square of pixels."""
    return values.repeat(times, axis=0).repeat(times, axis=1)


def _abstract_painting(dice: Dice) -> Levels:
    """A neighbour that is no instance: shapes in random colours, (3, h, w) whole levels."""
    height = dice.whole(96, 200)
    width = height * dice.whole(70, 140) // 100
    canvas = np.empty((3, height, width), np.int16)
    canvas[:] = dice.colour(0, 256)
    x, y = np.arange(width), np.arange(height)[:, None]
    for _ in range(dice.whole(4, 25)):
        colour = dice.colour(0, 256)
        (ax, ay), (bx, by) = dice.random.integers(0, height, (2, 2)).tolist()
        kind = dice.whole(0, 10)
        if kind < 4:
            shape = _near_line(x, y, (ax, ay), (bx, by), dice.whole(1, 12))
        elif kind < 7:
            shape = (x - ax) ** 2 + (y - ay) ** 2 <= dice.whole(3, height // 3) ** 2
        else:
            shape = (x >= min(ax, bx)) & (x <= max(ax, bx)) & (y >= min(ay, by)) & (y <= max(ay, by))
        canvas = np.where(shape, colour, canvas).astype(np.int16)
    return canvas


def _near_line(x: Longs, y: Longs, start: tuple[int, int], end: tuple[int, int], thickness: int) -> npt.NDArray[np.bool_]:
    """The pixels within half the thickness of a line."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    beside, along = (x - start[0]) * dy - (y - start[1]) * dx, (x - start[0]) * dx + (y - start[1]) * dy
    return np.asarray((4 * beside**2 <= thickness**2 * length) & (along >= 0) & (along <= length))


def _corners(dice: Dice, scale: float, spread: float, aspect: float = 1.0) -> list[tuple[int, int]]:
    """Corners of a picture seen in perspective, clockwise from the top left, in parts of a pixel; `scale` is its height against the photograph's."""
    half_height = scale * HEIGHT / 2
    half_width = half_height * aspect
    yaw, pitch, roll = dice.between(-0.7, 0.7), dice.between(-0.3, 0.3), 0.06 * dice.normal()
    centre = [side * (0.5 + dice.between(-spread, spread)) for side in (WIDTH, HEIGHT)]
    found = []
    for across, down in ((-half_width, -half_height), (half_width, -half_height), (half_width, half_height), (-half_width, half_height)):
        depth = max(1 + (across * sine(yaw) + down * sine(pitch)) / (1.6 * HEIGHT), 0.45)
        x, y = across * cosine(yaw) / depth, down * cosine(pitch) / depth
        turned = (x * cosine(roll) - y * sine(roll) + centre[0], x * sine(roll) + y * cosine(roll) + centre[1])
        found.append((round(turned[0] * GRID), round(turned[1] * GRID)))
    return found


def _area(corners: list[tuple[int, int]]) -> int:
    """Of a quadrangle, in whole pixels."""
    ahead = zip(corners, corners[1:] + corners[:1], strict=True)
    return abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in ahead)) // (2 * GRID * GRID)


def _hang(wall: Levels, picture: Levels, corners: list[tuple[int, int]], dice: Dice) -> None:
    """Lay a picture with its frame and shadow onto the wall, in place."""
    border = dice.whole(2, 22)
    height, width = (side + 2 * border for side in picture.shape[1:])
    framed = np.empty((3, height, width), np.int16)
    framed[:] = dice.whole(10, 220) * dice.colour(128, 257) // 256
    framed[:, border:-border, border:-border] = picture
    area, pictured = max(_area(corners), 1), picture.shape[1] * picture.shape[2]
    passes = round(0.4 * pictured / area) if area < pictured else 0  # antialias
    outer = _with_frame(corners, border, width - 2 * border, height - 2 * border)
    rows, columns, colours, cover = laid(smoothed(framed, min(passes, 12)), outer, WIDTH, HEIGHT)
    shadow = np.zeros((HEIGHT // 4, WIDTH // 4), np.int32)
    whole = np.zeros((HEIGHT, WIDTH), np.int32)
    whole[rows, columns] = cover
    shadow[1:, 1:] = whole[:-4:4, :-4:4]
    dark = _doubled(boxed(shadow, 1), 4) * dice.whole(26, 128)
    wall[:] = wall * (255 * 256 - dark) // (255 * 256)
    part = wall[:, rows, columns]
    part[:] = part * (255 - cover) // 255 + (colours << FRACTION)


def _with_frame(corners: list[tuple[int, int]], border: int, width: int, height: int) -> list[tuple[int, int]]:
    """The corners moved out by the frame's width, in the ratio of the sides."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    moved = []
    for x, y, beside, above in (
        (x0, y0, (x1, y1), (x3, y3)),
        (x1, y1, (x0, y0), (x2, y2)),
        (x2, y2, (x3, y3), (x1, y1)),
        (x3, y3, (x2, y2), (x0, y0)),
    ):
        moved.append(
            (
                x + (x - beside[0]) * border // width + (x - above[0]) * border // height,
                y + (y - beside[1]) * border // width + (y - above[1]) * border // height,
            )
        )
    return moved


def _visitors(wall: Levels, corners: list[tuple[int, int]], dice: Dice) -> None:
    """Heads and shoulders in front of the picture, in place."""
    xs, ys = zip(*((x // GRID, y // GRID) for x, y in corners), strict=True)
    side = round(_area(corners) ** 0.5)
    for _ in range((0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3)[dice.whole(0, 20)]):
        radius = max(side * dice.whole(10, 25) // 100, 1)
        centre_x = min(xs) + dice.whole(0, max(max(xs) - min(xs), 1))
        centre_y = sum(ys) // 4 + dice.whole(0, max(max(ys) - sum(ys) // 4, 1))
        colour = dice.colour(10, 170) << FRACTION
        left, top = max(centre_x - 2 * radius - 4, 0), max(centre_y - radius - 4, 0)
        seen = wall[:, top : max(centre_y + 5 * radius, top), left : max(centre_x + 2 * radius + 4, left)]
        if seen.size:
            x = np.arange(left, left + seen.shape[2], dtype=np.int32) - centre_x
            y = np.arange(top, top + seen.shape[1], dtype=np.int32)[:, None] - centre_y
            shoulders = 400 * x**2 + 361 * (y - 26 * radius // 10) ** 2 <= 4 * 361 * radius**2
            soft = boxed(np.where((x**2 + y**2 <= radius**2) | shoulders, np.int32(256), np.int32(0)), 1)
            seen[:] = (seen * (256 - soft) + colour * soft) >> 8


def _camera(wall: Levels, dice: Dice) -> Pixels:
    """Light, glare, blur, exposure and noise."""
    x = np.arange(WIDTH, dtype=np.int32) * 2 - WIDTH
    y = (np.arange(HEIGHT, dtype=np.int32) * 2 - HEIGHT)[:, None]
    light = dice.whole(614, 1178) * (1024 + x * dice.whole(-460, 461) // WIDTH + y * dice.whole(-460, 461) // HEIGHT) // 1024
    image = (wall * light >> 10) * dice.colour(819, 1178) >> 10
    if dice.chance(0.4):
        reach = dice.whole(100, 260)
        distance = (x - dice.whole(-358, 359)) ** 2 + (y * 4 // 3 - dice.whole(-358, 359)) ** 2
        near = (256 - 256 * distance // (reach * reach)).clip(min=0)
        image += dice.whole(40 << FRACTION, 160 << FRACTION) * near * near >> 16
    levels = smoothed(image.clip(0, WHITE).astype(np.int16), dice.whole(0, 7))
    grey = np.arange(WHITE + 1)
    exposed = (grey + dice.whole(-140, 110) * grey * (WHITE - grey) // (256 * WHITE)).astype(np.int16)[levels]
    first, second, third = dice.random.integers(0, 256, (3, 3, HEIGHT, WIDTH), np.uint8)
    grains = first.astype(np.int32) + second + third - 382
    noisy = exposed + (grains * dice.whole(1 << FRACTION, 11 << FRACTION) >> 7)
    seen: Pixels = (noisy + (1 << FRACTION - 1) >> FRACTION).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(seen)
