"""How a photograph looks, in 32×32 grey values, and which photographs look the same: resized, compressed again, or cropped slightly."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.contracts.images.image_shards import KIND, read_looks
from pipeline.stage.manifest import load_manifest

SIDE = 32
COARSE, FINE = 16, 24
"""Cells per side that candidates are found by, and that they are verified by."""
CROPS = ((0.0, 0.0, 1.0), (0.025, 0.025, 0.95), (0.05, 0.05, 0.9), (0.0, 0.0, 0.9), (0.1, 0.0, 0.9), (0.0, 0.1, 0.9), (0.1, 0.1, 0.9))
"""Left, top and side of parts that candidates are found by, in shares; the first is the whole."""
SIDES, STEP = (1.0, 0.98, 0.96, 0.94, 0.92, 0.9), 0.02
"""Sides, and steps between places, of the parts that a slightly cropped photograph may show, in shares."""
CANDIDATE, SAME = 0.85, 0.97
"""Correlations of grey values from which on a pair is looked at more closely, and from which on it is the same photograph."""
FLATTEST = 4.0
"""Standard deviation of grey values below which a photograph shows too little to be compared."""
AT_ONCE = 2048
Looks = npt.NDArray[np.uint8]
"""(N, SIDE, SIDE)."""


@dataclass(frozen=True)
class Alike:
    """Two photographs that look the same: their places, and the correlation of their grey values."""

    first: int
    second: int
    correlation: float


def look_of(image: Image.Image) -> bytes:
    """SIDE² grey values of a photograph, row by row."""
    return image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def read_all_looks(images: Path, wanted: set[str]) -> tuple[list[str], Looks]:
    """Ids and looks of the wanted images of data/images/DATASET."""
    found = {name: look for path in load_manifest(images, KIND).paths(images) for name, look in read_looks(path).items() if name in wanted}
    return list(found), as_looks(list(found.values()))


def as_looks(values: list[bytes]) -> Looks:
    """What `look_of` gave of several photographs."""
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, SIDE, SIDE)


def look_alikes(own: Looks, others: Looks | None = None) -> list[Alike]:
    """Pairs that are the same photograph, the best first.

    Args:
        others: the photographs that the own ones are compared with; None: with each other, each pair once.
    """
    compared = own if others is None else others
    pairs: set[tuple[int, int]] = set()
    for crop in CROPS:
        pairs |= set(_candidates(_cells(own, CROPS[0], COARSE), _cells(compared, crop, COARSE)))
        pairs |= set(_candidates(_cells(own, crop, COARSE), _cells(compared, CROPS[0], COARSE))) if others is not None else set()
    if others is None:
        pairs = {(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}
    verified = (Alike(first, second, _correlation(own[first], compared[second])) for first, second in pairs)
    return sorted((each for each in verified if each.correlation >= SAME), key=lambda each: (-each.correlation, each.first, each.second))


def _correlation(one: Looks, other: Looks) -> float:
    """Of the whole of one look with the part of the other that it is most like."""
    return max(_best_part(one, other), _best_part(other, one))


def _best_part(whole: Looks, cropped: Looks) -> float:
    own = _cells(whole[None], CROPS[0], FINE)[0]
    rows, columns = _samplers()
    parts = (rows @ cropped.astype(np.float32) @ columns.transpose(0, 2, 1)).reshape(len(rows), -1)
    return float((_unit(parts, FINE) @ own).max())


@cache
def _samplers() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Matrices (parts, FINE, SIDE) that take the rows and the columns of every part of `_parts` out of a look."""
    unit = np.eye(SIDE, dtype=np.float32)[None]
    rows = [_sampled(unit, _centres(top, side, FINE), 1)[0] for _, top, side in _parts()]
    columns = [_sampled(unit, _centres(left, side, FINE), 1)[0] for left, _, side in _parts()]
    return np.stack(rows), np.stack(columns)


@cache
def _parts() -> tuple[tuple[float, float, float], ...]:
    """Left, top and side of every part of SIDES, at places STEP apart."""
    found = []
    for side in SIDES:
        places = [round(place * STEP, 4) for place in range(round((1 - side) / STEP) + 1)]
        found += [(left, top, side) for left in places for top in places]
    return tuple(found)


def _candidates(whole: npt.NDArray[np.float32], parts: npt.NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    for first in range(0, len(whole), AT_ONCE):
        for second in range(0, len(parts), AT_ONCE):
            rows, columns = np.nonzero(whole[first : first + AT_ONCE] @ parts[second : second + AT_ONCE].T >= CANDIDATE)
            yield from zip((rows + first).tolist(), (columns + second).tolist(), strict=True)


def _cells(looks: Looks, crop: tuple[float, float, float], count: int) -> npt.NDArray[np.float32]:
    """(N, count²): grey values of a part on a grid, without their mean and of length 1; zeros where the part is too flat."""
    left, top, side = crop
    rows = _sampled(looks.astype(np.float32), _centres(top, side, count), 1)
    return _unit(_sampled(rows, _centres(left, side, count), 2).reshape(len(looks), -1), count)


def _centres(start: float, side: float, count: int) -> npt.NDArray[np.float64]:
    """Where the cells of a part look along one axis, in cells of the look."""
    return (start + (np.arange(count) + 0.5) / count * side) * SIDE


def _unit(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """(N, count²) without their mean and of length 1; zeros where they are too flat."""
    values = values - values.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(lengths >= FLATTEST * count, values / np.maximum(lengths, 1e-6), 0).astype(np.float32)


def _sampled(values: npt.NDArray[np.float32], places: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float32]:
    """Values at places along an axis, between the centres of cells in proportion."""
    at = np.clip(places - 0.5, 0, SIDE - 1)
    low = np.minimum(at.astype(np.int64), SIDE - 2)
    share = (at - low).astype(np.float32).reshape([-1 if each == axis else 1 for each in range(3)])
    return np.take(values, low, axis) * (1 - share) + np.take(values, low + 1, axis) * share
