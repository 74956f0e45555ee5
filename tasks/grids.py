"""Grids: files of experiments/, what they stand on, and the cells with the overrides that each makes of params.yaml."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import Section, read_section, validate

Scalar = str | int | float | bool | None
Item = Scalar | dict[str, Scalar | list[Scalar]]
Overrides = dict[str, Scalar | list[Item]]


class CellRule(Section):
    """Overrides of the cells that `where` names, by axis and label."""

    where: dict[str, str]
    set: Overrides


class Printed(Section):
    """A number as printed in a paper."""

    benchmark: str
    database: str = Field("database", description="and the setting of its protocol: database/medium")
    map: float | None = Field(None, ge=0, le=4, description="mean average precision; for UKBench the mean number of good results among four")
    map_of_first: int | None = Field(None, ge=1, description="results that `map` looks at, as 1000 for mAP@1000; all where none are named")
    precision_at_1: float | None = Field(None, ge=0, le=1)
    source: str

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.map is None and self.precision_at_1 is None:
            raise ValueError("expected map or precision_at_1")
        return self


class Published(Printed):
    """That of the cells that `where` names."""

    where: dict[str, str]


class Reference(Printed):
    """That of a method that no cell measures, in a row of its own."""

    row: str


class Figure(Section):
    """A figure of mAP over the labels of one axis, one line per label of another."""

    x: str
    lines: str | None = None


class SweepBase(Section):
    """What several files of experiments/ share: a file that `base` names, in the same folder, which may name another."""

    base: str | None = Field(None, description="a file of the same folder whose `targets`, `sections` and `set` are taken first")
    targets: list[str] = Field(default_factory=list, description="stages; all where none are named")
    sections: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="parts of params.yaml, as they stand there, that take the place of what the user has set"
    )
    set: Overrides = Field(default_factory=dict, description="overrides of every cell")
    axes: dict[str, dict[str, Overrides]] = Field(default_factory=dict)


class SweepFile(SweepBase):
    """One file of experiments/: every combination of the axes' labels is a cell."""

    title: str
    figure: Figure | None = None
    baseline: dict[str, str] = Field(
        default_factory=dict, description="labels of some axes: every cell is compared with the one that has these, and its own on the other axes"
    )
    cells: list[CellRule] = Field(default_factory=list)
    published: list[Published] = Field(default_factory=list)
    reference: list[Reference] = Field(default_factory=list, description="published rows of methods that are not measured here")


@dataclass(frozen=True)
class Cell:
    """One combination.

    Attributes:
        labels: its label on every axis.
        own: what the grid sets in it, each as `path=value`.
        labelled: what its labels set, of `own`.
        stands_on: a digest of the grid's sections; empty where it has none.
        overrides: all that it makes of params.yaml: what the sections say otherwise than the file, and `own`.
    """

    labels: dict[str, str]
    own: list[str]
    labelled: list[str]
    stands_on: str
    overrides: list[str]

    @property
    def title(self) -> str:
        return ", ".join(self.labels.values())


def load_sweep(path: Path) -> SweepFile:
    """Read and check a file of experiments/, its bases included.

    Raises:
        ParameterError: not such a file, bases in a circle, or a label in `where` that no axis has.
    """
    sweep = validate(SweepFile, read_section("", path), "sweep", str(path))
    seen, below = [path], sweep.base
    while below:
        file = path.with_name(below)
        if file in seen:
            raise ParameterError(f"{file}: base: {' on '.join(each.name for each in [*seen, file])}; a base cannot stand on itself")
        base = validate(SweepBase, read_section("", file), "base", str(file))
        merged = {"sections": _merged(base.sections, sweep.sections), "set": base.set | sweep.set, "axes": base.axes | sweep.axes}
        sweep, below = sweep.model_copy(update=merged | {"targets": sweep.targets or base.targets}), base.base
        seen.append(file)
    if not sweep.axes:
        raise ParameterError(f"{path}: sweep.axes: a grid needs one axis at least")
    drawn = [axis for axis in (sweep.figure.x, sweep.figure.lines) if axis] if sweep.figure else []
    for axis in drawn:
        if axis not in sweep.axes:
            raise ParameterError(f"{path}: figure: {axis} is no axis; there are: {', '.join(sweep.axes)}")
    for where in [rule.where for rule in sweep.cells] + [each.where for each in sweep.published] + [sweep.baseline]:
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
    standing = _merged(parameters, sweep.sections)
    stands_on = hashlib.sha256(json.dumps(sweep.sections, sort_keys=True).encode()).hexdigest()[:8] if sweep.sections else ""
    found, common = [], _assignments(sweep.set)
    for labels in itertools.product(*sweep.axes.values()):
        named = dict(zip(sweep.axes, labels, strict=True))
        values: Overrides = dict(sweep.set)
        for axis, label in named.items():
            values |= _filled(sweep.axes[axis][label], values, standing)
        for rule in sweep.cells:
            if rule.where.items() <= named.items():
                values |= _filled(rule.set, values, standing)
        own = _assignments(values)
        labelled = [override for override in own if override not in common]
        found.append(Cell(named, own, labelled, stands_on, list(_overrides(sweep.sections, values, parameters))))
    return found


def _assignments(values: Overrides) -> list[str]:
    return [f"{path}={_value(value)}" for path, value in values.items()]


def _overrides(sections: Mapping[str, Any], values: Overrides, parameters: dict[str, Any]) -> Iterator[str]:
    """What makes params.yaml say what the sections and then the values say; `+` stands where it does not have the path."""
    named = {path.lstrip("+") for path in values}
    for path, value in _differences(sections, parameters):
        if path not in named:
            yield f"{'' if _has(parameters, path) else '+'}{path}={_value(value)}"
    for path in _strangers(sections, parameters):
        if path not in named:
            yield f"~{path}"
    for path, value in values.items():
        added = path.startswith("+") and not _has(parameters, path[1:])
        yield f"{'+' if added else ''}{path.lstrip('+')}={_value(value)}"


_MISSING = object()
PLAIN = re.compile(r"[A-Za-z_][\w./@-]*")
"""Texts that overrides need not quote."""


def _known(parameters: Any, path: str, default: Any) -> Any:
    for key in path.split("."):
        if not isinstance(parameters, dict) or key not in parameters:
            return default
        parameters = parameters[key]
    return parameters


def _has(parameters: dict[str, Any], path: str) -> bool:
    return _known(parameters, path, _MISSING) is not _MISSING


def _differences(sections: Mapping[str, Any], parameters: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """What the sections say otherwise than params.yaml: single values, and mappings that it does not have at all."""
    for key, value in sections.items():
        own = parameters.get(key, _MISSING)
        if isinstance(value, dict) and isinstance(own, dict):
            yield from _differences(value, own, f"{above}{key}.")
        elif own != value:
            yield f"{above}{key}", value


def _strangers(sections: Mapping[str, Any], parameters: dict[str, Any]) -> Iterator[str]:
    """What params.yaml has in an item of a section, like datasets.NAME, that the grid describes itself without it."""
    for section, items in sections.items():
        for name, item in items.items():
            own = _known(parameters, f"{section}.{name}", None)
            if isinstance(item, dict) and isinstance(own, dict):
                yield from (f"{section}.{name}.{key}" for key in own if key not in item)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings inside mappings are merged; everything else of `over` takes the place of what is under it."""
    both = {key: _merged(under[key], over[key]) for key in under if isinstance(under[key], dict) and isinstance(over.get(key), dict)}
    return dict(under) | dict(over) | both


def _filled(overrides: Overrides, values: Overrides, parameters: dict[str, Any]) -> Overrides:
    def look_up(match: re.Match[str]) -> str:
        path = match.group(1)
        if path not in values and not _has(parameters, path):
            raise ParameterError(f"{{{path}}}: params.yaml has no such parameter")
        return str(values[path] if path in values else _known(parameters, path, None))

    return {re.sub(r"\{([\w.]+)\}", look_up, path): value for path, value in overrides.items()}


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
    text = str(value)
    plain = not isinstance(value, str) or (PLAIN.fullmatch(text) and text.lower() not in ("null", "true", "false", "nan", "inf"))
    return text if plain else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def cell_name(sweep: str, cell: Cell, targets: list[str], state: str) -> str:
    """The experiment's name: readable, and the same only for the same grid and targets on the same uncommitted changes (`state`)."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", f"{sweep}-{cell.title}").strip("-").lower()
    digest = hashlib.sha256(json.dumps([sorted(cell.own), cell.stands_on, targets, state]).encode()).hexdigest()[:8]
    return f"{readable}-{digest}"
