"""The fields of a question's form: what is allowed, and what each means."""

from typing import Any

from pipeline.serving.refusals import RefusedError

PROPERTIES = {
    "photograph": {"type": "string", "format": "binary", "description": "a file: JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP or GIF"},
    "image_id": {"type": "string", "description": "instead of a file: an image of the collection"},
    "collection": {"type": "string", "description": "its name; may be left out where there is one"},
    "box": {"type": "string", "description": "around the object, in pixels of the upright photograph: x0,y0,x1,y1"},
    "top": {"type": "integer", "default": 10, "description": "results"},
    "rerank": {"type": "boolean", "default": True, "description": "with the collection's re-ranking and query expansion"},
}
FORM: dict[str, Any] = {"required": True, "content": {"multipart/form-data": {"schema": {"type": "object", "properties": PROPERTIES}}}}
"""The body of POST /api/ask, for OpenAPI."""


def box_of(fields: dict[str, str]) -> list[float] | None:
    """The box of a form.

    Raises:
        RefusedError: not four numbers.
    """
    text = fields.get("box", "")
    if not text:
        return None
    try:
        box = [float(value) for value in text.split(",")]
    except ValueError:
        box = []
    if len(box) != 4 or not all(abs(value) < 1e9 for value in box):
        raise RefusedError(400, "box: four numbers are allowed, x0,y0,x1,y1 in pixels of the upright photograph")
    return box


def number_of(fields: dict[str, str], name: str, default: int, most: int) -> int:
    """A whole number from 1 to `most`.

    Raises:
        RefusedError: anything else.
    """
    text = fields.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
        raise RefusedError(400, f"{name}: a whole number from 1 to {most} is allowed")
    return int(text)


def flag_of(fields: dict[str, str], name: str, *, default: bool) -> bool:
    """true or false.

    Raises:
        RefusedError: anything else.
    """
    text = fields.get(name, str(default).lower())
    if text not in ("true", "false"):
        raise RefusedError(400, f"{name}: true or false is allowed")
    return text == "true"
