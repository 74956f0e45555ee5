"""Pairs of photographs as one static HTML page, two pictures next to each other; all text is escaped."""

from pathlib import Path

from pipeline.duplicates.pairs import Pair
from pipeline.look.stylesheet import stylesheet
from pipeline.look.templates import templates
from pipeline.reporting.thumbnails import thumbnails
from pipeline.stage import places

SIDE = 320


def render(dataset: str, pairs: list[Pair]) -> str:
    """The page of a data set's pairs."""
    wanted = {name for pair in pairs for name in (pair.first, pair.second)}
    page = templates(Path(__file__).parent).get_template("page.html.j2")
    pictures = thumbnails(places.images(dataset), wanted, SIDE)
    return page.render(dataset=dataset, pairs=pairs, pictures=pictures, style=stylesheet())
