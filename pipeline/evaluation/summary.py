"""The metrics of all benchmarks as a table on the terminal."""

from pipeline.contracts.metrics import Metrics
from pipeline.stage import places


def print_summary() -> None:
    """Print every benchmark's numbers and the report's place."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Metrics")
    for heading in ("benchmark", "database", "images", "queries", "mAP", "plain", "P@1", "chance"):
        table.add_column(heading, justify="left" if heading in ("benchmark", "database") else "right")
    files = sorted((places.REPORTS / "metrics").glob("*.json"))
    for file in files:
        for setting in Metrics.load(file).settings:
            scores = setting.scores
            measured = (f"{value:.4f}" for value in (scores.map, scores.map_plain, scores.precision_at_1, scores.map_at_chance))
            table.add_row(file.stem, setting.name, str(setting.size), str(scores.scored_queries), *measured)
    console = Console()
    console.print(table if files else "No metrics yet; run `make repro`.")
    if places.PAGE.exists():
        console.print(f"Report: {places.PAGE}", soft_wrap=True)
