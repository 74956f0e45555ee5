"""A comparison as one static HTML page with the pictures of the queries that changed most."""

from pathlib import Path

import jinja2

from pipeline.comparison.comparing import Comparison
from pipeline.comparison.texts import HEADINGS, PARAMETER_HEADINGS, STAGE_HEADINGS, parameter_rows, rows, stage_rows, verdict

TEMPLATE = Path(__file__).with_name("page.html.j2")


def render(comparison: Comparison, images: dict[str, str], side: int) -> str:
    """The page; text from data is escaped.

    Args:
        images: `data:` addresses by image id.
        side: pixels of a picture's longer side.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    tables = {
        "metrics": (HEADINGS, list(rows(comparison))),
        "parameters": (PARAMETER_HEADINGS, parameter_rows(comparison)),
        "stages": (STAGE_HEADINGS, stage_rows(comparison)),
    }
    return page.render(comparison=comparison, verdict=verdict(comparison), images=images, side=side, tables=tables)
