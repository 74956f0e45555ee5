"""One commit's results: a folder that holds its params.yaml, dvc.lock, metrics and per-query tables, and what it is called."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.contracts.metrics import Metrics
from pipeline.reporting.retrievals import Hit, first_hits
from pipeline.stage import places
from pipeline.stage.errors import ParameterError
from pipeline.stage.tables import read_json
from pipeline.stage.text_tables import read_rows
from pipeline.stage.yaml_text import Loader


@dataclass(frozen=True)
class Results:
    """One benchmark in one setting: its numbers, and its per-query rows by query."""

    numbers: dict[str, float]
    queries: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Snapshot:
    """What a commit, or the work tree, says.

    Attributes:
        title: for people: 'abc1234 Subject', or 'work tree'.
        seconds: how long the stages' runs took, where that is known.
        results: by benchmark that its params.yaml names, and setting ('database', 'with_distractors/hard').
        folder: what was read, which may hold data/rankings as well.
    """

    title: str
    seconds: dict[str, float]
    parameters: dict[str, Any]
    stages: dict[str, dict[str, Any]]
    results: dict[tuple[str, str], Results]
    folder: Path

    def first_hits(self, benchmark: str, setting: str, queries: Collection[str], results: int) -> dict[str, list[Hit]]:
        """First results of queries; empty where the snapshot has no rankings of the benchmark."""
        rankings, name = self.folder / places.rankings(benchmark), setting.partition("/")[0]
        if not all((rankings / f"{kind}-{name}.parquet").exists() for kind in ("ranking", "counts")):
            return {}
        return first_hits(rankings, setting, results, queries)


def load_snapshot(folder: Path) -> Snapshot:
    """Read a snapshot's folder; what is missing there counts as empty.

    Raises:
        ParameterError: a YAML file that cannot be read.
    """
    about = read_json(folder / "about.json")
    lock = _yaml(folder / "dvc.lock")
    parameters = _yaml(folder / "params.yaml")
    results: dict[tuple[str, str], Results] = {}
    for file in sorted((folder / "reports/metrics").glob("*.json")):
        if file.stem not in (parameters.get("benchmarks") or ()):
            continue
        rows = _per_query(folder / "reports/per_query" / f"{file.stem}.csv")
        for setting in Metrics.load(file).settings:
            results[file.stem, setting.name] = Results(setting.scores.numbers, rows.get(setting.name, {}))
    return Snapshot(about["title"], about["seconds"], parameters, lock.get("stages", {}), results, folder)


def _yaml(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return dict(yaml.load(path.read_text(encoding="utf-8"), Loader) or {})  # noqa: S506 -- a safe loader
    except (yaml.YAMLError, ValueError) as error:
        raise ParameterError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def _per_query(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Rows by setting and query."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for row in read_rows(path) if path.exists() else ():
        found.setdefault(row["setting"], {})[row["query_id"]] = row
    return found
