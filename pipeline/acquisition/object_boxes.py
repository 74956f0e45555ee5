"""Boxes of objects in files of lines `x y width height`, which lie next to the photographs of INSTRE and of ILIAS."""

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.stage.catalogue import Box, CatalogueRow
from pipeline.stage.errors import SourceError

OBJECTS = "objects"


def boxes_in(archive: Path, path: str, content: bytes) -> list[Box]:
    """x0, y0, x1, y1 of each line of one file of an archive; at least one.

    Raises:
        SourceError: it holds other lines, or none.
    """
    try:
        boxes = [_corners(line) for line in content.decode("ascii").splitlines() if line.strip()]
    except ValueError:
        boxes = []
    if not boxes:
        raise SourceError(f"{archive}: {path}: expected lines of x, y, width and height, got {content[:60]!r}")
    return boxes


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of them."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def objects_fact(boxes: Sequence[Box]) -> dict[str, str]:
    """What a photograph's row says of several objects, for `objects_of`; nothing where it shows one or none."""
    return {OBJECTS: json.dumps(boxes)} if len(boxes) > 1 else {}


def objects_of(row: CatalogueRow) -> list[Box]:
    """The boxes of the several objects that a photograph shows, in the order of its file; none where it shows one or none."""
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in json.loads(json.loads(row.facts or "{}").get(OBJECTS, "[]"))]


def _corners(line: str) -> Box:
    x, y, width, height = (float(cell) for cell in line.replace(",", " ").split())
    return x, y, x + width, y + height
