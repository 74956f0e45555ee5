"""Pairs of photographs as one static HTML page, two pictures next to each other; all text is escaped."""

import base64
from pathlib import Path

import jinja2

from pipeline.contracts.image_shards import KIND, read_images
from pipeline.duplicates.pairs import Pair
from pipeline.imaging.images import open_image, upright
from pipeline.search.thumbnails import thumbnail
from pipeline.stage import places
from pipeline.stage.manifest import load_manifest

TEMPLATE = Path(__file__).with_name("page.html.j2")
SIDE = 320


def render(dataset: str, pairs: list[Pair]) -> str:
    """The page of a data set's pairs."""
    wanted = {name for pair in pairs for name in (pair.first, pair.second)}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return page.render(dataset=dataset, pairs=pairs, pictures=_pictures(places.images(dataset), wanted))


def _pictures(images: Path, wanted: set[str]) -> dict[str, str]:
    found = {}
    for path in load_manifest(images, KIND).paths(images) if wanted else ():
        for stored in read_images(path, wanted):
            small = thumbnail(upright(open_image(stored.bytes)), SIDE)
            found[stored.image_id] = "data:image/jpeg;base64," + base64.b64encode(small).decode("ascii")
    return found
