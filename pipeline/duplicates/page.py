"""Pairs of photographs as one static HTML page, two pictures next to each other; all text is escaped."""

from pathlib import Path

import jinja2

from pipeline.duplicates.pairs import Pair
from pipeline.reporting.thumbnails import thumbnails
from pipeline.stage import places

TEMPLATE = Path(__file__).with_name("page.html.j2")
SIDE = 320


def render(dataset: str, pairs: list[Pair]) -> str:
    """The page of a data set's pairs."""
    wanted = {name for pair in pairs for name in (pair.first, pair.second)}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return page.render(dataset=dataset, pairs=pairs, pictures=thumbnails(places.images(dataset), wanted, SIDE))
