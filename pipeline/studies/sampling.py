"""Which images a study looks at, and how it shows them."""

import base64
import io

from PIL import Image

from pipeline.maps.pictures import Pixels


def evenly(ids: list[str], count: int) -> list[str]:
    """At most `count` ids, evenly spread over the list."""
    count = min(count, len(ids))
    return [ids[index * len(ids) // count] for index in range(count)]


def thumbnail(pixels: Pixels, side: int) -> str:
    """A JPEG of pixels (H, W, 3) whose longer side is `side`, in base64."""
    small = Image.fromarray(pixels)
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
