"""Images as arrays: decode, orient once, resize by named rules, crop boxes."""

import io
import math
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.stage.catalogue import Box
from pipeline.stage.errors import ImageError

Pixels = npt.NDArray[np.uint8]
FILTERS = {
    "pillow_bilinear": Image.Resampling.BILINEAR,
    "pillow_bicubic": Image.Resampling.BICUBIC,
    "pillow_lanczos": Image.Resampling.LANCZOS,
    "pillow_box": Image.Resampling.BOX,
}
Image.MAX_IMAGE_PIXELS = 300_000_000


def load_image(data: bytes, rotation: int = 0, exif: bool = True) -> Image.Image:
    """Decode an image, turn it upright by EXIF (where `exif`) and by `rotation` degrees clockwise, and make it RGB.

    Alpha is laid over white, 16-bit samples are scaled to 8, CMYK and palettes are converted, of an animation the first frame is taken.

    Raises:
        ImageError: empty, truncated, not an image, or too large to be one.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(data))
            image.load()
            image = ImageOps.exif_transpose(image) if exif else image
        image = _rgb(image)
    except UnidentifiedImageError:
        raise ImageError("not an image that can be decoded") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(" ".join(str(error).split()) or type(error).__name__) from None
    return image.rotate(-rotation, expand=True) if rotation % 360 else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        samples = np.asarray(image, np.float64)
        top = 65535.0 if image.mode.startswith("I") and samples.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.clip(np.rint(samples * (255.0 / top)), 0, 255).astype(np.uint8), "L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, layer)
    return image.convert("RGB")


def target_size(width: int, height: int, rule: str, size: int, enlarge: bool) -> tuple[int, int]:
    """(width, height) after resizing by a rule, the ratio kept but by `square`.

    Args:
        rule: `longest_side`, `shortest_side` (of `size` pixels), `area` (size² pixels), `square` (size × size pixels) or `none`.
    """
    if rule == "square":
        return size, size
    factor = resize_factor(width, height, rule, size, enlarge)
    return max(1, round(width * factor)), max(1, round(height * factor))


def resize_factor(width: int, height: int, rule: str, size: int, enlarge: bool) -> float:
    """Resized against original side; by `square` the root of the ratio of the areas."""
    mean = math.sqrt(width * height)
    measures = {"longest_side": max(width, height), "shortest_side": min(width, height), "area": mean, "square": mean, "none": size}
    factor = size / measures[rule]
    return factor if enlarge else min(factor, 1.0)


def context_factor(width: float, height: float, context: float, rule: str, size: int, enlarge: bool) -> float:
    """The factor f that brings a box widened by context / f on every side to its target size: the context is measured after resizing.

    Raises:
        ImageError: the context alone is as large as the target.
    """
    if rule == "none" or context == 0:
        return resize_factor(max(1, round(width)), max(1, round(height)), rule, size, enlarge)
    if size <= 2 * context:
        raise ImageError(f"a context of {context:g} pixels on every side leaves nothing of {size} pixels; lower resize.query_context")
    if rule == "area":  # (w·f + 2c)(h·f + 2c) = size²
        total, rest = width + height, size**2 - 4 * context**2
        factor = 2 * rest / (2 * context * total + math.sqrt(4 * context**2 * total**2 + 4 * width * height * rest))
    else:
        factor = (size - 2 * context) / (max(width, height) if rule == "longest_side" else min(width, height))
    return factor if enlarge else min(factor, 1.0)


def resize(image: Image.Image, width: int, height: int, filter: str = "pillow_bicubic") -> Image.Image:
    """Resize with antialiasing; an image of that size already is returned as it is."""
    return image if image.size == (width, height) else image.resize((width, height), FILTERS[filter], reducing_gap=None)


def crop_box(image: Image.Image, box: Box) -> Image.Image:
    """The part of an image inside a box, which is clipped to the image.

    Raises:
        ImageError: nothing of the box lies inside the image.
    """
    x0, y0 = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    x1, y1 = min(image.width, math.ceil(box[2])), min(image.height, math.ceil(box[3]))
    if x1 <= x0 or y1 <= y0:
        raise ImageError(f"the box {tuple(box)} lies outside the image of {image.width}×{image.height} pixels")
    return image.crop((x0, y0, x1, y1))


def extend_box(box: Box, margin: float, width: int, height: int) -> Box:
    """A box widened by `margin` pixels on every side, clipped to the image (paper 1, §3: half the receptive field)."""
    return (max(0.0, box[0] - margin), max(0.0, box[1] - margin), min(float(width), box[2] + margin), min(float(height), box[3] + margin))


def encode(image: Image.Image, encoding: str = "png", jpeg_quality: int = 95) -> bytes:
    """PNG (lossless) or JPEG bytes, the same for the same pixels."""
    buffer = io.BytesIO()
    match encoding:
        case "png":
            image.save(buffer, "PNG", compress_level=1)
        case "jpeg":
            image.save(buffer, "JPEG", quality=jpeg_quality, subsampling=0)
        case _:
            raise ValueError(f"encoding {encoding!r} is unknown; there are: png, jpeg")
    return buffer.getvalue()


def decode(data: bytes) -> Pixels:
    """Pixels (H, W, 3) uint8 RGB of an image that `encode` made."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
