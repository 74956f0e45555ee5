"""The metrics of the benchmarks that params.yaml names, on the terminal, and the files that other benchmarks left."""

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.contracts.metrics import Metrics
from pipeline.stage import places
from pipeline.stage.parameters import read_section


def print_metrics(root: Path) -> None:
    """Print the numbers of the benchmarks that params.yaml names, the files that others left, and the report's place."""
    table = Table(title="Metrics")
    for heading in ("benchmark", "database", "images", "queries", "mAP", "plain", "P@1", "chance"):
        table.add_column(heading, justify="left" if heading in ("benchmark", "database") else "right")
    named = sorted(read_section("benchmarks", root / "params.yaml"))
    for name in named:
        file = root / places.metrics(name)
        for setting in Metrics.load(file).settings if file.exists() else ():
            scores = setting.scores
            measured = (f"{value:.4f}" for value in (scores.map, scores.map_plain, scores.precision_at_1, scores.map_at_chance))
            table.add_row(name, setting.name, str(setting.size), str(scores.scored_queries), *measured)
    console = Console()
    console.print(table if table.row_count else "No metrics yet; run `make repro`.")
    if left := leftovers(root, named):
        remove = shlex.join(["rm", "--", *left])
        console.print(f"Left from benchmarks that params.yaml does not name, and not shown; `{remove}` removes it.", soft_wrap=True, markup=False)
    if (root / places.PAGE).exists():
        console.print(f"Report: {places.PAGE}", soft_wrap=True)


def leftovers(root: Path, benchmarks: list[str]) -> list[str]:
    """Files of metrics and of queries whose benchmark is not among these, from the project's folder."""
    files = [file for name in ("metrics", "per_query") for file in sorted((root / places.REPORTS / name).glob("*.*"))]
    return [file.relative_to(root).as_posix() for file in files if file.stem not in benchmarks and not file.name.startswith(".")]
