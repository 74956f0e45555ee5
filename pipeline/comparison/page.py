"""A comparison as one static HTML page: the queries that changed most, with their first results before and after."""

from pathlib import Path

from pipeline.comparison.comparing import Comparison
from pipeline.comparison.snapshot import Snapshot
from pipeline.comparison.texts import HEADINGS, PARAMETER_HEADINGS, STAGE_HEADINGS, parameter_rows, rows, stage_rows, verdict
from pipeline.look.templates import templates
from pipeline.reporting.retrievals import Hit
from pipeline.reporting.style import FILE as STYLE
from pipeline.reporting.style import style

BothResults = dict[tuple[str, str, str], tuple[list[Hit], list[Hit]]]
"""By benchmark, setting and query: first results before and after."""
RESULTS = 6
TEMPLATE = Path(__file__).with_name("page.html.j2")


def both_results(comparison: Comparison, before: Snapshot, after: Snapshot) -> BothResults:
    """First results of the queries that changed most, as far as both sides still have their rankings."""
    found: BothResults = {}
    for each in comparison.benchmarks:
        queries = {change.query_id for change in each.gained + each.lost}
        if not queries:
            continue
        old, new = (side.first_hits(each.benchmark, each.setting, queries, RESULTS) for side in (before, after))
        found |= {(each.benchmark, each.setting, query): (old[query], new[query]) for query in queries if query in old and query in new}
    return found


def render(comparison: Comparison, results: BothResults, images: dict[str, str], side: int) -> str:
    """The page; text from data is escaped.

    Args:
        results: first results of queries on both sides.
        images: `data:` addresses by image id.
        side: pixels of a picture's longer side.
    """
    page = templates(STYLE.parent).from_string(TEMPLATE.read_text(encoding="utf-8"))
    tables = {
        "metrics": (HEADINGS, list(rows(comparison))),
        "parameters": (PARAMETER_HEADINGS, parameter_rows(comparison)),
        "stages": (STAGE_HEADINGS, stage_rows(comparison)),
    }
    return page.render(comparison=comparison, results=results, verdict=verdict(comparison), images=images, side=side, tables=tables, style=style())
