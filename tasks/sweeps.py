"""Sweeps: what the cells of a grid measured, and the table of measured and published numbers."""

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.contracts.metrics import Metrics
from pipeline.stage.tables import replacing, write_json
from pipeline.stage.text_tables import markdown, write_csv
from tasks.grids import Cell, Published, SweepFile


@dataclass(frozen=True)
class Measured:
    """A cell's numbers by benchmark and database; `state` tells how they came about."""

    cell: Cell
    experiment: str
    state: str
    numbers: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)


def evaluated(benchmarks: list[str], targets: list[str]) -> list[str]:
    """The benchmarks that a run of these targets evaluates."""
    return [name for name in benchmarks if not targets or {"evaluate", f"evaluate@{name}", "report"} & set(targets)]


def numbers(metrics: dict[str, Metrics]) -> dict[tuple[str, str], dict[str, float]]:
    """mAP and P@1, and the score of UKBench, by benchmark and database, from the metrics by benchmark."""
    shown = ("map", "precision_at_1", "ukbench_score")
    return {
        (benchmark, setting.name): {key: value for key, value in setting.scores.numbers.items() if key in shown}
        for benchmark, own in metrics.items()
        for setting in own.settings
    }


def table(sweep: SweepFile, results: list[Measured]) -> list[dict[str, str]]:
    """One row per cell, benchmark and database, the published number next to the measured one; rows of their own for benchmarks not measured."""
    rows = []
    for result in results:
        printed = [each for each in sweep.published if each.where.items() <= result.cell.labels.items()]
        for (benchmark, database), values in result.numbers.items() or {("", ""): {}}.items():
            same = [each for each in printed if (each.benchmark, each.database) == (benchmark, database)]
            rows.append(_row(result, benchmark, database, values, same))
        rows += [_row(result, each.benchmark, each.database, {}, [each]) for each in printed if (each.benchmark, each.database) not in result.numbers]
    return rows


def _row(result: Measured, benchmark: str, database: str, values: dict[str, float], printed: list[Published]) -> dict[str, str]:
    of_four = "ukbench_score" in values  # what UKBench is published in
    return {
        **result.cell.labels,
        "benchmark": benchmark,
        "database": f"{database}, good of 4" if of_four else database,
        "mAP": _number(values.get("ukbench_score", values.get("map"))),
        "P@1": _number(values.get("precision_at_1")),
        "published": "; ".join(f"{each.map:g}" for each in printed if each.map is not None),
        "published P@1": "; ".join(f"{each.precision_at_1:g}" for each in printed if each.precision_at_1 is not None),
        "source": "; ".join(each.source for each in printed),
        "experiment": result.experiment if values else "",
        "state": result.state if values or not printed else "not measured",
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def write_tables(folder: Path, name: str, sweep: SweepFile, commit: str, rows: list[dict[str, str]]) -> str:
    """Write NAME.csv, NAME.md, and NAME.json for the report; returns the Markdown."""
    headings = list(rows[0]) if rows else []
    text = f"# {sweep.title}\n\n{markdown(headings, ([row[heading] for heading in headings] for row in rows))}\n"
    with replacing(folder / f"{name}.md") as partial:
        partial.write_text(text, encoding="utf-8")
    write_csv(folder / f"{name}.csv", headings, rows)
    figure = sweep.figure.model_dump() if sweep.figure else None
    about = {"title": sweep.title, "axes": list(sweep.axes), "figure": figure, "commit": commit}
    write_json(folder / f"{name}.json", about | {"headings": headings, "rows": rows})
    return text
