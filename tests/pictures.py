"""Small images for tests, drawn from a seed."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def pixels(seed: int, width: int = 96, height: int = 64) -> npt.NDArray[np.uint8]:
    """A smooth random picture (H, W, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(seed: int, width: int = 96, height: int = 64, format: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    """The same as the bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed, width, height)).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()
