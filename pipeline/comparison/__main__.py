"""`python -m pipeline.comparison BEFORE AFTER`: compare two snapshots on the terminal, and as Markdown, HTML and JSON."""

import argparse
import logging
from dataclasses import asdict
from pathlib import Path

from pipeline.comparison.comparing import Comparison, compare
from pipeline.comparison.page import BothResults, both_results, render
from pipeline.comparison.snapshot import Snapshot, load_snapshot
from pipeline.comparison.texts import markdown, print_comparison, verdict
from pipeline.reporting.thumbnails import thumbnails
from pipeline.stage import places
from pipeline.stage.entry import fail
from pipeline.stage.errors import PipelineError, ShardError
from pipeline.stage.tables import replacing, write_json

log = logging.getLogger(__name__)
SIDE = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="folder of a snapshot")
    parser.add_argument("after", type=Path)
    parser.add_argument("--markdown", type=Path, help="file to write")
    parser.add_argument("--html", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    options = parser.parse_args()
    try:
        before, after = load_snapshot(options.before), load_snapshot(options.after)
        comparison = compare(before, after)
        if options.markdown:
            _write(options.markdown, markdown(comparison))
        if options.html:
            shown = both_results(comparison, before, after)
            _write(options.html, render(comparison, shown, _pictures(comparison, shown, after), SIDE))
        if options.json:
            write_json(options.json, asdict(comparison) | {"metrics_differ": comparison.metrics_differ, "verdict": verdict(comparison)})
    except PipelineError as error:
        fail(str(error))
    if not options.quiet:
        print_comparison(comparison)


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _pictures(comparison: Comparison, shown: BothResults, after: Snapshot) -> dict[str, str]:
    """Thumbnails of the queries that are named and of their results, from the images that lie here."""
    found: dict[str, str] = {}
    for benchmark in comparison.benchmarks:
        queries = {change.query_id for change in benchmark.gained + benchmark.lost}
        pairs = [shown.get((benchmark.benchmark, benchmark.setting, query), ([], [])) for query in queries]
        wanted = queries | {hit.image_id for pair in pairs for hits in pair for hit in hits}
        own = after.parameters.get("benchmarks", {}).get(benchmark.benchmark, {})
        for dataset in filter(None, (own.get("dataset"), own.get("distractors"))):
            if left := wanted - found.keys():
                try:
                    found |= thumbnails(places.images(dataset), left, SIDE)
                except ShardError as error:
                    log.warning("No pictures of %s: %s", benchmark.benchmark, error)
    return found


if __name__ == "__main__":
    main()
