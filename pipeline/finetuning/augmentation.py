"""Training views of a photograph: scaled, its aspect limited, and changed at random (paper 4, §3.1.1 and §3.4.1)."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.finetuning.params import AugmentationParameters
from pipeline.imaging.images import resize, target_size

Pixels = npt.NDArray[np.uint8]


def squared(image: Image.Image, side: int) -> Image.Image:
    """The whole image at side × side pixels."""
    return resize(image, side, side)


def sided(image: Image.Image, side: int) -> Image.Image:
    """The image at `side` pixels of its shorter side, enlarged where it is smaller."""
    return resize(image, *target_size(image.width, image.height, "shortest_side", side, enlarge=True))


def limit_aspect(image: Image.Image, maximal: float, random: np.random.Generator) -> Image.Image:
    """An image that is longer than `maximal` times its shorter side, padded along that side with uniform noise; others unchanged."""
    shorter = math.ceil(max(image.size) / maximal)
    if min(image.size) >= shorter:
        return image
    width, height = max(image.width, shorter), max(image.height, shorter)
    padded = _noise(width, height, random)
    padded.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return padded


def changed(image: Image.Image, parameters: AugmentationParameters, random: np.random.Generator) -> Image.Image:
    """The image rotated, scaled on each axis, shifted and mirrored about its centre, at its own size."""
    angle = math.radians(random.uniform(-1, 1) * parameters.rotation)
    scales = 1 + random.uniform(-1, 1, 2) * parameters.scale
    shifts = random.uniform(-1, 1, 2) * parameters.shift * image.size
    mirrored = random.random() < parameters.flip
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    back = np.diag([-1.0 if mirrored else 1.0, 1.0]) @ np.diag(1 / scales) @ turn  # from a place in the view to one in the image
    centre = np.array(image.size) / 2
    offset = centre - back @ (centre + shifts)
    coefficients = (*back[0], offset[0], *back[1], offset[1])
    moved = image.transform(image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    match parameters.fill:
        case "black":
            return moved
        case "noise":
            inside = Image.new("L", image.size, 255).transform(image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.NEAREST)
            return Image.composite(moved, _noise(*image.size, random), inside)
        case _:
            raise ValueError(f"fill {parameters.fill!r} is unknown; there are: black, noise")


def _noise(width: int, height: int, random: np.random.Generator) -> Image.Image:
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
