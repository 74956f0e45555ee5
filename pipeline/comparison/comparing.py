"""What differs between two snapshots: metrics with their certainty, queries, parameters, code and stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.comparison.snapshot import Results, Snapshot
from pipeline.evaluation.differences import PairedDifference, paired_difference

PAIRED = {"map": "ap", "map_plain": "ap_plain", "precision_at_1": "precision_at_1"}
"""Metrics that are means of a per-query column."""
QUERIES_SHOWN = 5


@dataclass(frozen=True)
class MetricDifference:
    """One number before and after; `paired` where it is a mean over queries that both have."""

    name: str
    before: float
    after: float
    paired: PairedDifference | None = None

    @property
    def differs(self) -> bool:
        return self.before != self.after

    @property
    def difference(self) -> float:
        """Over the queries that both sides have, where the metric is a mean over queries."""
        return self.after - self.before if self.paired is None else self.paired.mean


@dataclass(frozen=True)
class QueryChange:
    """A query's average precision before and after."""

    query_id: str
    before: float
    after: float

    @property
    def gain(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class BenchmarkDifference:
    """One benchmark in one setting.

    Attributes:
        metrics: all that both sides have.
        gained, lost: the queries whose average precision rose and fell most.
        unpaired: queries that only one side has.
    """

    benchmark: str
    setting: str
    metrics: list[MetricDifference]
    gained: list[QueryChange]
    lost: list[QueryChange]
    unpaired: int

    @property
    def tested(self) -> bool:
        """True where the means are over queries that both sides have."""
        return any(metric.paired is not None for metric in self.metrics)

    @property
    def differs(self) -> bool:
        return self.unpaired > 0 or any(metric.differs or (metric.paired and metric.paired.gained + metric.paired.lost) for metric in self.metrics)


@dataclass(frozen=True)
class ParameterDifference:
    """A parameter's value before and after as text; 'nothing' where it was or is not there."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class StageDifference:
    """A stage whose run was another one: what differed, and how long both took where that is known."""

    stage: str
    differs: tuple[str, ...]
    before_seconds: float | None
    after_seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """All that differs between two commits."""

    before: str
    after: str
    benchmarks: list[BenchmarkDifference]
    only_before: list[str]
    only_after: list[str]
    parameters: list[ParameterDifference]
    code: list[str]
    stages: list[StageDifference]

    @property
    def metrics_differ(self) -> bool:
        return bool(self.only_before or self.only_after) or any(benchmark.differs for benchmark in self.benchmarks)


def compare(before: Snapshot, after: Snapshot) -> Comparison:
    """Compare two snapshots."""
    both = [key for key in after.results if key in before.results]
    return Comparison(
        before=before.title,
        after=after.title,
        benchmarks=[_benchmark(*key, before.results[key], after.results[key]) for key in both],
        only_before=[" ".join(key) for key in before.results if key not in after.results],
        only_after=[" ".join(key) for key in after.results if key not in before.results],
        parameters=_parameters(before.parameters, after.parameters),
        code=_code(before.stages, after.stages),
        stages=_stages(before, after),
    )


def _benchmark(benchmark: str, setting: str, before: Results, after: Results) -> BenchmarkDifference:
    shared = [query for query in after.queries if query in before.queries]
    metrics = []
    for name in (*PAIRED, *(name for name in after.numbers if name not in PAIRED)):
        if name in before.numbers and name in after.numbers:
            paired = _paired(PAIRED[name], shared, before, after) if name in PAIRED and shared else None
            metrics.append(MetricDifference(name, before.numbers[name], after.numbers[name], paired))
    changes = [QueryChange(query, float(before.queries[query]["ap"]), float(after.queries[query]["ap"])) for query in shared]
    return BenchmarkDifference(
        benchmark,
        setting,
        metrics,
        gained=sorted((change for change in changes if change.gain > 0), key=lambda change: -change.gain)[:QUERIES_SHOWN],
        lost=sorted((change for change in changes if change.gain < 0), key=lambda change: change.gain)[:QUERIES_SHOWN],
        unpaired=len(before.queries.keys() ^ after.queries.keys()),
    )


def _paired(column: str, queries: list[str], before: Results, after: Results) -> PairedDifference:
    first, second = ([float(side.queries[query][column]) for query in queries] for side in (before, after))
    return paired_difference(first, second)


def _parameters(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[ParameterDifference]:
    first, second = _flat(before), _flat(after)
    return [
        ParameterDifference(path, first.get(path, "nothing"), second.get(path, "nothing"))
        for path in sorted(first | second)
        if first.get(path) != second.get(path)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _code(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Rooms and modules that a stage ran with in another state."""
    first, second = _code_sums(before), _code_sums(after)
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))


def _code_sums(stages: Mapping[str, Any]) -> dict[str, str]:
    return {dep["path"]: dep["md5"] for stage in stages.values() for dep in stage.get("deps", []) if _is_code(dep["path"])}


def _is_code(path: str) -> bool:
    return path.startswith("pipeline/")


def _stages(before: Snapshot, after: Snapshot) -> list[StageDifference]:
    found = []
    for name in sorted(after.stages.keys() | before.stages.keys()):
        differs = _what_differs(before.stages.get(name), after.stages.get(name))
        if differs:
            found.append(StageDifference(name, differs, before.seconds.get(name), after.seconds.get(name)))
    return found


def _what_differs(before: dict[str, Any] | None, after: dict[str, Any] | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ("new",) if before is None else ("gone",)
    first, second = _parts(before), _parts(after)
    return tuple(name for name in first if first[name] != second[name])


def _parts(entry: dict[str, Any]) -> dict[str, Any]:
    """A lock entry, taken apart by what a reader asks for."""
    deps = [(dep["path"], dep["md5"]) for dep in entry.get("deps", [])]
    return {
        "command": entry["cmd"],
        "parameters": entry.get("params"),
        "code": [dep for dep in deps if _is_code(dep[0])],
        "inputs": [dep for dep in deps if not _is_code(dep[0])],
        "results": [(out["path"], out["md5"]) for out in entry.get("outs", [])],
    }
