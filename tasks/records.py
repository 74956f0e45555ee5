"""What runs of stages cost: the record next to a stage's output, and the history by what dvc.lock says of the run."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from pipeline.stage.errors import ParameterError
from pipeline.stage.run_record import RunRecord, record_path
from pipeline.stage.tables import write_json
from pipeline.stage.yaml_text import Loader
from tasks.stage_graph import Stage

HISTORY = Path(".dvc/tmp/runs")
KEPT = 200
"""Records of each stage, the newest."""


def latest(root: Path, stage: Stage) -> RunRecord | None:
    """What the stage's last run here cost, whoever started it."""
    return _read(root / record_path(Path(stage.outputs[0]))) if stage.outputs else None


def remember(root: Path, stage: Stage) -> None:
    """File the stage's last run under the entry that dvc.lock has for it now, so that commits can be compared later."""
    try:
        entry = lock_entries(_text(root / "dvc.lock")).get(stage.name)
    except ParameterError:  # DVC is just writing it, for a stage that ended at the same time
        return
    record = latest(root, stage)
    if record is not None and entry is not None:
        folder = root / HISTORY / stage.name
        write_json(folder / f"{lock_digest(entry)}.json", asdict(record))
        for old in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT]:
            old.unlink(missing_ok=True)


def recall(root: Path, name: str, entry: dict[str, Any]) -> RunRecord | None:
    """What the run that a lock entry speaks of cost, where a flow ran it on this checkout."""
    return _read(root / HISTORY / name / f"{lock_digest(entry)}.json")


def lock_entries(lock: str) -> dict[str, dict[str, Any]]:
    """Every stage's entry in the text of a dvc.lock.

    Raises:
        ParameterError: it is not one; conflict markers, or half of it.
    """
    try:
        content = yaml.load(lock, Loader)  # noqa: S506 -- a safe loader
        content = {} if content is None else content
        entries: dict[str, dict[str, Any]] = dict(content.get("stages") or {})
    except (yaml.YAMLError, AttributeError, ValueError, TypeError, RecursionError) as error:
        raise ParameterError(f"dvc.lock: not valid: {' '.join(str(error).split())}") from None
    return entries


def lock_digest(entry: dict[str, Any]) -> str:
    """Equal for runs with equal command, inputs, parameters and outputs."""
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()[:24]


def _read(path: Path) -> RunRecord | None:
    try:
        return RunRecord(**json.loads(_text(path)))
    except (ValueError, TypeError):  # absent, or written by another version
        return None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
