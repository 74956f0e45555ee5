"""Sweeps: a grid of parameter overrides from experiments/, its cells, and the table of measured and published numbers."""

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from pipeline.contracts.metrics import Metrics
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import Section, read_section, validate
from pipeline.stage.tables import replacing, write_json
from pipeline.stage.text_tables import markdown, write_csv

Scalar = str | int | float | bool | None
Item = Scalar | dict[str, Scalar | list[Scalar]]
Overrides = dict[str, Scalar | list[Item]]


class CellRule(Section):
    """Overrides of the cells that `where` names, by axis and label."""

    where: dict[str, str]
    set: Overrides


class Published(Section):
    """A number as printed, for the cells that `where` names."""

    where: dict[str, str]
    benchmark: str
    database: str = Field("database", description="and the setting of its protocol: database/medium")
    map: float | None = Field(None, ge=0, le=4, description="mean average precision; for UKBench the mean number of good results among four")
    precision_at_1: float | None = Field(None, ge=0, le=1)
    source: str

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.map is None and self.precision_at_1 is None:
            raise ValueError("expected map or precision_at_1")
        return self


class Figure(Section):
    """A figure of mAP over the labels of one axis, one line per label of another."""

    x: str
    lines: str | None = None


class SweepBase(Section):
    """What several files of experiments/ share: a file that `base` names, in the same folder."""

    targets: list[str] = Field(default_factory=list)
    set: Overrides = Field(default_factory=dict)


class SweepFile(Section):
    """One file of experiments/: every combination of the axes' labels is a cell."""

    title: str
    base: str | None = Field(None, description="a file of the same folder with `targets` and `set`, taken first")
    figure: Figure | None = None
    targets: list[str] = Field(default_factory=list, description="stages; all where none are named")
    set: Overrides = Field(default_factory=dict, description="overrides of every cell")
    axes: dict[str, dict[str, Overrides]] = Field(min_length=1)
    cells: list[CellRule] = Field(default_factory=list)
    published: list[Published] = Field(default_factory=list)


@dataclass(frozen=True)
class Cell:
    """One combination: its label on every axis, and what it sets as `path=value`."""

    labels: dict[str, str]
    overrides: list[str]

    @property
    def title(self) -> str:
        return ", ".join(self.labels.values())


@dataclass(frozen=True)
class Measured:
    """A cell's numbers by benchmark and database; `state` tells how they came about."""

    cell: Cell
    experiment: str
    state: str
    numbers: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)


def load_sweep(path: Path) -> SweepFile:
    """Read and check a file of experiments/.

    Raises:
        ParameterError: not such a file, or a label in `where` that no axis has.
    """
    sweep = validate(SweepFile, read_section("", path), "sweep", str(path))
    if sweep.base:
        file = path.with_name(sweep.base)
        base = validate(SweepBase, read_section("", file), "base", str(file))
        sweep = sweep.model_copy(update={"targets": sweep.targets or base.targets, "set": base.set | sweep.set})
    drawn = [axis for axis in (sweep.figure.x, sweep.figure.lines) if axis] if sweep.figure else []
    for axis in drawn:
        if axis not in sweep.axes:
            raise ParameterError(f"{path}: figure: {axis} is no axis; there are: {', '.join(sweep.axes)}")
    for where in [rule.where for rule in sweep.cells] + [each.where for each in sweep.published]:
        for axis, label in where.items():
            if label not in sweep.axes.get(axis, {}):
                known = f"labels of {axis}: {', '.join(sweep.axes[axis])}" if axis in sweep.axes else f"axes: {', '.join(sweep.axes)}"
                raise ParameterError(f"{path}: where {axis}: {label}: there are only the {known}")
    return sweep


def cells(sweep: SweepFile, parameters: dict[str, Any]) -> list[Cell]:
    """All cells, in the order of the axes; `{path}` in an override's path stands for that parameter's value in the cell.

    Raises:
        ParameterError: a path in braces that is no parameter.
    """
    found = []
    for labels in itertools.product(*sweep.axes.values()):
        named = dict(zip(sweep.axes, labels, strict=True))
        values: Overrides = dict(sweep.set)
        for axis, label in named.items():
            values |= _filled(sweep.axes[axis][label], values, parameters)
        for rule in sweep.cells:
            if rule.where.items() <= named.items():
                values |= _filled(rule.set, values, parameters)
        found.append(Cell(named, [f"{path}={_value(value)}" for path, value in values.items()]))
    return found


def _filled(overrides: Overrides, values: Overrides, parameters: dict[str, Any]) -> Overrides:
    def look_up(match: re.Match[str]) -> str:
        path = match.group(1)
        return str(values[path] if path in values else _parameter(parameters, path))

    return {re.sub(r"\{([\w.]+)\}", look_up, path): value for path, value in overrides.items()}


def _parameter(parameters: dict[str, Any], path: str) -> Any:
    value: Any = parameters
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise ParameterError(f"{{{path}}}: params.yaml has no such parameter")
        value = value[key]
    return value


def _value(value: Item | Sequence[Item]) -> str:
    """A value in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and "." not in repr(value):
        return repr(value).replace("e", ".0e")  # without a point YAML reads a text
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_value(each) for each in value) + "]"
    return str(value)


def cell_name(sweep: str, cell: Cell, targets: list[str], state: str) -> str:
    """The experiment's name: readable, and the same only for the same overrides and targets on the same uncommitted changes (`state`)."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", f"{sweep}-{cell.title}").strip("-").lower()
    digest = hashlib.sha256(json.dumps([sorted(cell.overrides), targets, state]).encode()).hexdigest()[:8]
    return f"{readable}-{digest}"


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
