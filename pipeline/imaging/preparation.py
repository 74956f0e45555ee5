"""One photograph to one stored image and its catalogue row; a broken one becomes a row that says why."""

import math
from dataclasses import replace

from PIL import Image

from pipeline.acquisition.sources import Photograph
from pipeline.contracts.images.cells import Part
from pipeline.contracts.images.image_shards import StoredImage
from pipeline.imaging.images import (
    context_factor,
    crop_box,
    encode,
    extend_box,
    open_image,
    pad,
    resize,
    resize_factor,
    target_size,
    upright,
    upright_size,
)
from pipeline.imaging.known_images import catalogue_row
from pipeline.imaging.looks import look_of
from pipeline.imaging.params import ResizeParameters
from pipeline.imaging.pixel_budget import shared_budget
from pipeline.stage.catalogue import Box, CatalogueRow
from pipeline.stage.errors import ImageError

LONGEST_SIDE = 16384
REDUCED_FROM = 50_000_000
"""Pixels from which a JPEG is decoded at half, a quarter or an eighth of its size, where that still is twice what is stored."""


def prepare(photograph: Photograph, parameters: ResizeParameters) -> tuple[CatalogueRow, StoredImage | None]:
    """Decode, orient, crop and resize a photograph.

    Returns:
        Its catalogue row, and the image; None where it cannot be used.
    """
    row = catalogue_row(photograph)
    try:
        opened = open_image(photograph.data, parameters.largest_pixels)
        size = opened.size
        _reduce(opened, photograph, parameters)
        with shared_budget().hold(opened.width * opened.height):
            width, height = upright_size(opened, photograph.rotation, photograph.exif, size)
            image = upright(opened, photograph.rotation, photograph.exif)
            row = replace(row, width=width, height=height)
            return row, _stored(photograph, image, (width, height), parameters)
    except ImageError as error:
        return replace(row, status=f"unreadable: {error}"), None


def _reduce(image: Image.Image, photograph: Photograph, parameters: ResizeParameters) -> None:
    """Have a huge JPEG decoded smaller; not one with a box, which is in pixels of the original."""
    if image.format == "JPEG" and photograph.box is None and image.width * image.height >= REDUCED_FROM:
        width, height = target_size(*image.size, parameters.rule, parameters.pixels, parameters.enlarge)
        image.draft(None, (2 * width, 2 * height))


def _stored(photograph: Photograph, image: Image.Image, original: tuple[int, int], parameters: ResizeParameters) -> StoredImage:
    """Resize, after cropping where the box crops pixels; `original` is the image's size where it was decoded smaller.

    `image` scales the crop by the full image's ratio, as paper 3 does; `image_own_size` brings the crop itself to the target size.
    """
    square = parameters.rule == "square"
    rule = (parameters.rule, parameters.pixels, parameters.enlarge)
    factor = resize_factor(original[0], original[1], *rule)
    size = target_size(original[0], original[1], *rule)
    box = _wanted_box(photograph, parameters, image, factor)
    kept: Box | None = None
    if box is not None and parameters.query_crop in ("image", "image_own_size"):
        image, kept = _cropped(image, box, photograph.box if parameters.query_context else None)
        if parameters.query_crop == "image_own_size":
            factor = resize_factor(image.width, image.height, *rule)
            size = target_size(image.width, image.height, *rule)
        elif not square:
            size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    elif box is not None and parameters.query_crop == "activations":
        kept = box
    elif box is not None:
        raise ValueError(f"query_crop {parameters.query_crop!r} is unknown; there are: image, image_own_size, activations, none")
    short = min(size) < parameters.minimum_side
    if short and parameters.small == "refuse":
        raise ImageError(f"{size[0]}×{size[1]} pixels after resizing, resize.minimum_side is {parameters.minimum_side}")
    if short and parameters.small == "scale":
        factor = parameters.minimum_side / min(image.size)
        size = max(parameters.minimum_side, round(image.width * factor)), max(parameters.minimum_side, round(image.height * factor))
        if max(size) > LONGEST_SIDE:
            raise ImageError(f"{size[0]}×{size[1]} pixels with the shorter side at resize.minimum_side; at most {LONGEST_SIDE} are stored")
        factor *= image.width / original[0] if box is None else 1.0  # of the original, where it was decoded smaller
    across, down = (size[0] / image.width, size[1] / image.height) if square else (factor, factor)
    kept = kept and (kept[0] * across, kept[1] * down, kept[2] * across, kept[3] * down)
    resized = resize(image, *size, parameters.filter)
    if short and parameters.small == "pad":
        resized, left, top = pad(resized, parameters.minimum_side)
        kept = kept and (kept[0] + left, kept[1] + top, kept[2] + left, kept[3] + top)
    encoded = encode(resized, parameters.encoding, parameters.jpeg_quality)
    part = Part(kept, centred=parameters.query_crop != "activations") if kept else None
    return StoredImage(photograph.image_id, encoded, resized.width, resized.height, factor, part, look_of(resized), photograph.role)


def _cropped(image: Image.Image, box: Box, inner: Box | None) -> tuple[Image.Image, Box | None]:
    """The crop, and the box inside it, in its pixels, that it is the context of."""
    crop = crop_box(image, box)
    if inner is None:
        return crop, None
    left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    x0, y0, x1, y1 = inner
    return crop, (max(x0 - left, 0.0), max(y0 - top, 0.0), min(x1 - left, float(crop.width)), min(y1 - top, float(crop.height)))


def _wanted_box(photograph: Photograph, parameters: ResizeParameters, image: Image.Image, factor: float) -> Box | None:
    """The box that crops, with its context: pixels of the image that the crop is resized to, by the image's factor or by its own."""
    width, height = image.size
    if photograph.role != "query" or photograph.box is None or parameters.query_crop == "none":
        return None
    x0, y0, x1, y1 = photograph.box
    if x1 <= x0 or y1 <= y0:
        raise ImageError(f"the box {photograph.box} is empty")
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise ImageError(f"the box {photograph.box} lies outside the image of {width}×{height} pixels")
    if parameters.query_crop == "image_own_size":
        x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
        factor = context_factor(x1 - x0, y1 - y0, parameters.query_context, parameters.rule, parameters.pixels, parameters.enlarge)
    return extend_box(photograph.box, parameters.query_context / factor, width, height)
