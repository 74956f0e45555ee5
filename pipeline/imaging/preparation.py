"""One photograph to one stored image and its catalogue row; a broken one becomes a row that says why."""

import hashlib
from dataclasses import replace

from PIL import Image

from pipeline.acquisition.sources import Photograph
from pipeline.contracts.image_shards import StoredImage
from pipeline.imaging.images import context_factor, crop_box, encode, extend_box, load_image, resize, resize_factor, target_size
from pipeline.imaging.params import ResizeParameters
from pipeline.stage.catalogue import Box, CatalogueRow
from pipeline.stage.errors import ImageError


def prepare(photograph: Photograph, parameters: ResizeParameters) -> tuple[CatalogueRow, StoredImage | None]:
    """Decode, orient, crop and resize a photograph.

    Returns:
        Its catalogue row, and the image; None where it cannot be used.
    """
    x0, y0, x1, y1 = photograph.box or (None, None, None, None)
    row = CatalogueRow(
        photograph.image_id,
        photograph.path,
        hashlib.sha256(photograph.data).hexdigest(),
        0,
        0,
        photograph.role,
        photograph.instance,
        x0,
        y0,
        x1,
        y1,
        rotation=photograph.rotation,
    )
    try:
        image = load_image(photograph.data, photograph.rotation, photograph.exif)
        row = replace(row, width=image.width, height=image.height)
        return row, _stored(photograph, image, parameters)
    except ImageError as error:
        return replace(row, status=f"unreadable: {error}"), None


def _stored(photograph: Photograph, image: Image.Image, parameters: ResizeParameters) -> StoredImage:
    """Resize, after cropping where the box crops pixels.

    `image` scales the crop by the full image's ratio, as paper 3 does; `image_own_size` brings the crop itself to the target size.
    """
    rule, square = (parameters.rule, parameters.pixels, parameters.enlarge), parameters.rule == "square"
    factor = resize_factor(image.width, image.height, *rule)
    size = target_size(image.width, image.height, *rule)
    box = _wanted_box(photograph, parameters, image, factor)
    kept: Box | None = None
    if box is not None and parameters.query_crop == "image":
        image = crop_box(image, box)
        size = size if square else (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    elif box is not None and parameters.query_crop == "image_own_size":
        image = crop_box(image, box)
        factor = resize_factor(image.width, image.height, *rule)
        size = target_size(image.width, image.height, *rule)
    elif box is not None:
        across, down = (size[0] / image.width, size[1] / image.height) if square else (factor, factor)
        kept = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    if min(size) < parameters.minimum_side:
        raise ImageError(f"{size[0]}×{size[1]} pixels after resizing, resize.minimum_side is {parameters.minimum_side}")
    resized = resize(image, *size, parameters.filter)
    return StoredImage(photograph.image_id, encode(resized, parameters.encoding, parameters.jpeg_quality), *size, factor, kept)


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
