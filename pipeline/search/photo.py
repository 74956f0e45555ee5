"""What may be handed over as a photograph, and its encoded bytes."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.stage.errors import ImageError


@dataclass(frozen=True)
class Encoded:
    """A photograph as the bytes of its file, and a name for messages."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Fetched:
    """A photograph whose bytes are had when they are needed, and a name for messages; `read` raises ImageError where they cannot be had."""

    name: str
    read: Callable[[], bytes]


Photo = str | Path | bytes | Encoded | Fetched | Image.Image | npt.NDArray[np.uint8]
"""A file, its bytes, a PIL image, or pixels (H, W, 3) RGB."""


def named_bytes(photo: Photo) -> tuple[str, bytes]:
    """A photograph's name and its encoded bytes.

    Raises:
        ImageError: there is no such file, or what is given is no picture.
    """
    match photo:
        case bytes():
            return "photograph", photo
        case Encoded(name, data):
            return name, data
        case Fetched(name, read):
            return name, read()
        case str() | Path():
            try:
                return str(photo), Path(photo).read_bytes()
            except OSError as error:
                raise ImageError(f"{photo}: {error.strerror}") from None
        case Image.Image():
            return "photograph", _png(photo)
        case np.ndarray() if photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3:
            return "photograph", _png(Image.fromarray(photo))
        case _:
            raise ImageError(f"a photograph is a file, encoded bytes, a PIL image or pixels (H, W, 3) uint8; got {type(photo).__name__}")


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
