"""The metrics of all benchmarks as a table on the terminal."""

from pathlib import Path

from pipeline.contracts.tables import read_json
from pipeline.reporting.page import settings_of


def print_summary(reports: Path) -> None:
    """Print every benchmark's numbers and the report's place."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Metrics")
    for heading in ("benchmark", "database", "images", "queries", "mAP", "plain", "P@1", "chance"):
        table.add_column(heading, justify="left" if heading in ("benchmark", "database") else "right")
    files = sorted((reports / "metrics").glob("*.json"))
    for file in files:
        for setting in settings_of(read_json(file)):
            numbers = setting.numbers
            measured = (f"{numbers[key]:.4f}" for key in ("map", "map_plain", "precision_at_1", "map_at_chance"))
            table.add_row(file.stem, setting.name, str(setting.size), str(numbers["scored_queries"]), *measured)
    console = Console()
    console.print(table if files else "No metrics yet; run `make repro`.")
    if (reports / "index.html").exists():
        console.print(f"Report: {reports / 'index.html'}", soft_wrap=True)
