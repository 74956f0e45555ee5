"""Sweeps: what the cells of a grid measured, how sure it is, and the table of measured and published numbers."""

import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.contracts.metrics import Metrics
from pipeline.stage.tables import read_json, replacing, write_json
from pipeline.stage.text_tables import markdown, write_csv
from tasks.figure_studies import Study, headings_of, study_tables
from tasks.grids import Cell, Printed, SweepFile
from tasks.processes import run_checked

OUT_OF_FOUR = "good of 4"
"""Stands after the database's name where the column of mAP holds UKBench's score."""
SHOWN = re.compile(r"map|map_at_\d+|precision_at_1|ukbench_score")
"""Metrics that a table can hold."""
Intervals = dict[tuple[int, str, str], dict[str, Any]]
"""By the cell's place, benchmark and database: what pipeline.comparison.intervals says of each measure."""


@dataclass(frozen=True)
class Measured:
    """A cell's numbers by benchmark and database.

    Attributes:
        state: how they came about.
        per_query: values by measure and query, by benchmark and database.
        seconds: that the cell took; None where it had run before.
        studies: what the studies of its grid wrote, by study and benchmark.
    """

    cell: Cell
    experiment: str
    state: str
    numbers: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    per_query: dict[tuple[str, str], dict[str, dict[str, float]]] = field(default_factory=dict)
    seconds: float | None = None
    studies: dict[str, dict[str, Study]] = field(default_factory=dict)


def evaluated(benchmarks: list[str], targets: list[str]) -> list[str]:
    """The benchmarks that a run of these targets evaluates."""
    return [name for name in benchmarks if not targets or {"evaluate", f"evaluate@{name}", "report"} & set(targets)]


def numbers(metrics: dict[str, Metrics]) -> dict[tuple[str, str], dict[str, float]]:
    """mAP, also of first results, P@1, and the score of UKBench, by benchmark and database, from the metrics by benchmark."""
    return {
        (benchmark, setting.name): {key: value for key, value in setting.scores.numbers.items() if SHOWN.fullmatch(key)}
        for benchmark, own in metrics.items()
        for setting in own.settings
    }


def measure_intervals(root: Path, sweep: SweepFile, results: list[Measured]) -> Intervals:
    """How sure every cell's numbers are, and how they differ from the baseline's, by cell, benchmark and database."""
    places = [(index, *key) for index, result in enumerate(results) for key in result.per_query]
    labels = [result.cell.labels for result in results]
    tables: list[dict[str, Any]] = []
    for index, benchmark, database in places:
        base = next((each for each, own in enumerate(labels) if own == labels[index] | sweep.baseline), index) if sweep.baseline else index
        compared = (base, benchmark, database)
        baseline = places.index(compared) if base != index and compared in places else None
        tables.append({"values": results[index].per_query[benchmark, database], "baseline": baseline})
    with tempfile.TemporaryDirectory(prefix="intervals-") as place:
        write_json(Path(place, "tables.json"), tables)
        run_checked(root, sys.executable, "-m", "pipeline.comparison.intervals", f"{place}/tables.json", f"{place}/intervals.json")
        return dict(zip(places, json.loads(Path(place, "intervals.json").read_text(encoding="utf-8")), strict=True))


def table(sweep: SweepFile, results: list[Measured], intervals: Intervals | None = None) -> list[dict[str, str]]:
    """One row per cell, benchmark and database, the published number next to the measured one; rows of their own for benchmarks not measured."""
    rows = []
    for index, result in enumerate(results):
        printed = [each for each in sweep.published if each.where.items() <= result.cell.labels.items()]
        for (benchmark, database), values in result.numbers.items() or {("", ""): {}}.items():
            same = [each for each in printed if (each.benchmark, each.database) == (benchmark, database)]
            sure = (intervals or {}).get((index, benchmark, database), {})
            rows.append(_row(result.cell.labels, benchmark, database, same, result.state, result.experiment if values else "", values, sure))
        missing = [each for each in printed if (each.benchmark, each.database) not in result.numbers]
        rows += [_row(result.cell.labels, each.benchmark, each.database, [each], "not measured") for each in missing]
    for row in sweep.reference:
        labels = dict.fromkeys(sweep.axes, "") | {next(iter(sweep.axes)): row.row}
        rows.append(_row(labels, row.benchmark, row.database, [row], "published only"))
    return rows


def _row(
    labels: Mapping[str, str],
    benchmark: str,
    database: str,
    printed: Sequence[Printed],
    state: str,
    experiment: str = "",
    values: Mapping[str, float] = MappingProxyType({}),
    sure: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, str]:
    first = next((each.map_of_first for each in printed if each.map_of_first), None)
    measure, kind = _measure(values, first)
    return {
        **labels,
        "benchmark": benchmark,
        "database": f"{database}, {kind}" if kind else database,
        "mAP": _number(values.get(measure)),
        "mAP, 95 %": "" if kind else _interval(sure.get("map")),
        "mAP − baseline": "" if kind else _difference(sure.get("map")),
        "P@1": _number(values.get("precision_at_1")),
        "P@1, 95 %": _interval(sure.get("precision_at_1")),
        "P@1 − baseline": _difference(sure.get("precision_at_1")),
        "published": "; ".join(f"{each.map:g}" for each in printed if each.map is not None),
        "published P@1": "; ".join(f"{each.precision_at_1:g}" for each in printed if each.precision_at_1 is not None),
        "source": "; ".join(each.source for each in printed),
        "experiment": experiment,
        "state": state,
    }


def _measure(values: Mapping[str, float], first: int | None) -> tuple[str, str]:
    """The metric that stands in the column of mAP, and what it is where it is no mAP of all results."""
    if "ukbench_score" in values:
        return "ukbench_score", OUT_OF_FOUR
    return (f"map_at_{first}", f"mAP@{first}") if first else ("map", "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(sure: dict[str, Any] | None) -> str:
    return f"{sure['low']:.4f} to {sure['high']:.4f}" if sure else ""


def _difference(sure: dict[str, Any] | None) -> str:
    """The paired difference with its interval; a star where it is more than chance."""
    if not sure or not sure["difference"]:
        return ""
    own = sure["difference"]
    return f"{own['mean']:+.4f} ({own['low']:+.4f} to {own['high']:+.4f}){'*' if own['certain'] else ''}"


def write_tables(folder: Path, name: str, sweep: SweepFile, commit: str, rows: list[dict[str, str]], results: Sequence[Measured] = ()) -> str:
    """Write NAME.csv, NAME.md, and NAME.json for the report; returns the Markdown. Columns without any value are left out.

    Args:
        results: the cells, for the time that one took on average and for what its studies measured.
    """
    always = {*sweep.axes, "benchmark", "database", "mAP", "published", "source", "experiment", "state"}
    headings = [heading for heading in rows[0] if heading in always or any(row[heading] for row in rows)] if rows else []
    rows = [{heading: row[heading] for heading in headings} for row in rows]
    text = f"# {sweep.title}\n\n{markdown(headings, ([row[heading] for heading in headings] for row in rows))}\n"
    with replacing(folder / f"{name}.md") as partial:
        partial.write_text(text, encoding="utf-8")
    write_csv(folder / f"{name}.csv", headings, rows)
    figure = sweep.figure.model_dump() if sweep.figure else None
    seconds = _seconds(results, folder / f"{name}.json")
    about = {"title": sweep.title, "axes": list(sweep.axes), "figure": figure, "commit": commit, "seconds_per_cell": seconds}
    tables = study_tables([(result.cell.labels, result.experiment, result.studies) for result in results])
    studies = {study: {"headings": headings_of(own), "rows": own} for study, own in tables.items()}
    write_json(folder / f"{name}.json", about | {"headings": headings, "rows": rows} | ({"studies": studies} if studies else {}))
    return text


def _seconds(results: Sequence[Measured], before: Path) -> float | None:
    """That a cell which ran took, on average; what the table said before where none ran."""
    taken = [result.seconds for result in results if result.seconds is not None]
    if taken:
        return round(sum(taken) / len(taken), 1)
    earlier: float | None = read_json(before).get("seconds_per_cell") if before.exists() else None
    return earlier
