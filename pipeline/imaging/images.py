"""Images as arrays: decode, orient once, resize by named rules, crop boxes."""

import io
import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.stage.catalogue import Box
from pipeline.stage.errors import ImageError

Pixels = npt.NDArray[np.uint8]
ORIENTATION = 0x0112
WIDTH, HEIGHT = 256, 257
"""Tags of a TIFF: of the stored pixels."""
BAND = 512
"""Rows that are converted at once."""
FILTERS = {
    "pillow_bilinear": Image.Resampling.BILINEAR,
    "pillow_bicubic": Image.Resampling.BICUBIC,
    "pillow_lanczos": Image.Resampling.LANCZOS,
    "pillow_box": Image.Resampling.BOX,
}
FORMATS = ("JPEG", "MPO", "PNG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "JPEG2000", "AVIF", "HEIF")
"""What is decoded, by content. Formats that an interpreter would have to run, such as EPS, are not among them."""
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, struct.error)
"""What decoders raise for files that are not what they seem."""
LARGEST_PIXELS = 300_000_000
Image.MAX_IMAGE_PIXELS = None  # `open_image` has its own limit, which names its parameter


def load_image(data: bytes, rotation: int = 0, exif: bool = True) -> Image.Image:
    """Decode an image, turn it upright and make it RGB; see `open_image` and `upright`."""
    return upright(open_image(data), rotation, exif)


def open_image(data: bytes, largest: int = LARGEST_PIXELS) -> Image.Image:
    """Read an image's header; its pixels are decoded when they are asked for.

    Raises:
        ImageError: empty, not an image, or of more than `largest` pixels.
    """
    if not data:
        raise ImageError("the file is empty")
    if data[4:8] == b"ftyp" and data[8:12] not in (b"avif", b"avis"):
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False)
    with _one_line_errors():
        image = Image.open(io.BytesIO(data), formats=_formats())
    if image.width * image.height > largest:
        raise ImageError(f"{image.width}×{image.height} pixels, resize.largest_pixels is {largest}")
    return image


def _formats() -> list[str]:
    Image.preinit()
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which no pixel depends on
            yield
    except UnidentifiedImageError:
        raise ImageError("not an image that can be decoded") from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        TypeError,
        IndexError,
        KeyError,
        AttributeError,
        OverflowError,
        RuntimeError,
        struct.error,
    ) as error:
        raise ImageError(" ".join(str(error).split()) or type(error).__name__) from None


def upright(image: Image.Image, rotation: int = 0, exif: bool = True) -> Image.Image:
    """Decode the pixels, turn them upright by EXIF (where `exif`) and by `rotation` degrees clockwise, and make them RGB.

    Alpha is laid over white, samples of more than 8 bits are scaled to 8, CMYK and palettes are converted, of an animation the first frame
    is taken.

    Raises:
        ImageError: truncated or damaged, or samples that are no numbers.
    """
    with _one_line_errors():
        image.load()
        if exif:
            ImageOps.exif_transpose(image, in_place=True)
        image = _rgb(image)
    return image.rotate(-rotation, expand=True) if rotation % 360 else image


def upright_size(image: Image.Image, rotation: int = 0, exif: bool = True, size: tuple[int, int] | None = None) -> tuple[int, int]:
    """(width, height) that `upright` will give. Of some PNGs all is decoded to know it, as their EXIF stands behind the pixels.

    Args:
        size: of the stored pixels, where the image is going to be decoded smaller.
    """
    width, height = size or image.size
    with _one_line_errors():
        turned = exif and not _turned_already(image) and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return (height, width) if turned != (rotation % 180 == 90) else (width, height)


def _turned_already(image: Image.Image) -> bool:
    """Whether Pillow gives the upright size of a TIFF already, as its newer versions do."""
    tags = getattr(image, "tag_v2", {})
    return image.format == "TIFF" and image.size == (tags.get(HEIGHT), tags.get(WIDTH)) and image.width != image.height


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _over_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    """An image with alpha laid over white, in bands of rows."""
    whole = Image.new("RGB", image.size)
    for band in _bands(image):
        layer = image.crop(band).convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        whole.paste(Image.alpha_composite(white, layer).convert("RGB"), band[:2])
    return whole


def _bands(image: Image.Image) -> list[tuple[int, int, int, int]]:
    return [(0, top, image.width, min(top + BAND, image.height)) for top in range(0, image.height, BAND)]


def _eight_bits(image: Image.Image) -> Image.Image:
    """Samples of 16 bits, 32 bits or of floating point as 8 bits, in bands of rows.

    The range is the smallest of 0…1 (floating point), 0…255 and 0…65535 that holds all samples; where none does, it is that of the samples.
    """
    bands = _bands(image)
    low, high = np.inf, -np.inf
    for band in bands:
        samples = np.asarray(image.crop(band), np.float64)
        if not np.isfinite(samples).all():
            raise ImageError("samples that are no finite numbers")
        low, high = min(low, samples.min()), max(high, samples.max())
    tops = [1.0, 255.0, 65535.0] if image.mode == "F" else [255.0, 65535.0]
    top = next((top for top in tops if high <= top), None)
    bottom, span = (0.0, top) if low >= 0 and top is not None else (low, (high - low) or 1.0)
    pixels = np.empty((image.height, image.width), np.uint8)
    for band in bands:
        pixels[band[1] : band[3]] = np.clip(np.rint((np.asarray(image.crop(band), np.float64) - bottom) * (255.0 / span)), 0, 255)
    return Image.fromarray(pixels, "L")


def pad(image: Image.Image, side: int) -> tuple[Image.Image, int, int]:
    """The image with its border pixels repeated until no side is shorter than `side`; and the pixels added on the left and on top."""
    across, down = max(side - image.width, 0), max(side - image.height, 0)
    left, top = across // 2, down // 2
    pixels = np.pad(np.asarray(image), ((top, down - top), (left, across - left), (0, 0)), mode="edge")
    return Image.fromarray(pixels), left, top


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
        factor = (size - 2 * context) / {"longest_side": max(width, height), "shortest_side": min(width, height)}[rule]
    return factor if enlarge else min(factor, 1.0)


def resize(image: Image.Image, width: int, height: int, filter: str = "pillow_bicubic") -> Image.Image:
    """Resize with antialiasing; an image of that size already is returned as it is."""
    return image if image.size == (width, height) else image.resize((width, height), FILTERS[filter], reducing_gap=None)


def crop_box(image: Image.Image, box: Box) -> Image.Image:
    """The part of an image inside a box, which is clipped to the image.

    Raises:
        ImageError: nothing of the box lies inside the image.
    """
    x0, y0, x1, y1 = touched_pixels(box, image.width, image.height)
    if x1 <= x0 or y1 <= y0:
        raise ImageError(f"the box {tuple(box)} lies outside the image of {image.width}×{image.height} pixels")
    return image.crop((x0, y0, x1, y1))


def touched_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The whole pixels x0, y0, x1, y1 that a box touches, clipped to the image; nothing where x1 ≤ x0 or y1 ≤ y0."""
    return max(0, math.floor(box[0])), max(0, math.floor(box[1])), min(width, math.ceil(box[2])), min(height, math.ceil(box[3]))


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
