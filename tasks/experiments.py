"""DVC experiments: parameter overrides run outside the checkout, so that the checkout stays as it is and unchanged stages come from the cache."""

import csv
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import yaml
from dotenv import dotenv_values

from pipeline.contracts.metrics import Metrics
from pipeline.stage.errors import ParameterError, PipelineError
from pipeline.stage.parameters import read_section
from pipeline.stage.yaml_text import Loader
from tasks.local_changes import give_back_changes, kept_changes
from tasks.processes import Finished, Processes, run_checked
from tasks.stage_graph import overridden
from tasks.workspace import git

PATHS = {"RETRIEVAL_SCRATCH": ".scratch", "RETRIEVAL_STORE": ".store", "RETRIEVAL_DATA": "."}
"""Settings that are paths, with what they are where nothing is set; relative ones start from the checkout."""


def check_overrides(root: Path, cells: Mapping[str, list[str]]) -> None:
    """Refuse overrides that params.yaml cannot take, before anything runs.

    Args:
        cells: overrides by the cell's title.

    Raises:
        ParameterError: names the first cell that does not fit.
    """
    with tempfile.TemporaryDirectory(prefix="overrides-") as place:
        files: dict[str, str] = {}
        parameters = read_section("", root / "params.yaml")
        for index, (title, overrides) in enumerate(cells.items()):
            file = Path(place, str(index), "params.yaml")
            file.parent.mkdir()
            try:
                file.write_text(json.dumps(overridden(parameters, overrides)), encoding="utf-8")
            except ParameterError as error:
                raise ParameterError(f"the cell {title}: {error}") from None
            files[str(file)] = title
        try:
            run_checked(root, sys.executable, "-m", "cli", "check", *files)
        except PipelineError as error:
            for name, title in files.items():
                _, named, reason = str(error).rpartition(f"{name}: ")
                if named:
                    raise ParameterError(f"the cell {title}: {reason}") from None
            raise


def uncommitted(root: Path) -> str:
    """A digest of what tracked files have besides the last commit, dvc.lock and reports left out; empty where there is nothing."""
    difference = git(root, "diff", "HEAD", "--", ".", ":!dvc.lock", ":!reports")
    return hashlib.sha256(difference.encode()).hexdigest()[:8] if difference else ""


def experiments(root: Path) -> dict[str, str]:
    """The experiments on the present commit: their commits by name."""
    head = git(root, "rev-parse", "HEAD")
    listed = git(root, "for-each-ref", "--format=%(refname:lstrip=-1) %(objectname)", f"refs/exps/{head[:2]}/{head[2:]}")
    return dict(line.split() for line in listed.splitlines())


def state_of(root: Path) -> tuple[str, str]:
    """What experiments of this moment stand on: the commit, and a digest of uncommitted changes."""
    return git(root, "rev-parse", "HEAD"), uncommitted(root)


def remove_experiment(root: Path, name: str) -> None:
    """Forget an experiment, on whichever commit it stands."""
    for reference in git(root, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines():
        if reference.rpartition("/")[2] == name:
            git(root, "update-ref", "-d", reference)


def find_experiment(root: Path, name: str) -> str | None:
    """The commit of an experiment on the present commit, or None."""
    return experiments(root).get(name)


def run_experiment(
    processes: Processes, name: str, overrides: list[str], targets: list[str], log: Callable[[str], None], copied: Sequence[str] = ()
) -> Finished:
    """Run `dvc exp run` in a temporary checkout; resumes what an earlier one left in the scratch store.

    Args:
        copied: files of this checkout that the temporary one has as well, though Git does not know them.
    """
    settings = [part for override in overrides for part in ("--set-param", override)]
    files = [part for path in copied for part in ("--copy-paths", path)]
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "exp", "run", "--temp", "--name", name, *settings, *files, *targets]
    with kept_changes(processes.root):
        return processes.run(command, log, environment=place_settings(processes.root))


def place_settings(root: Path) -> dict[str, str]:
    """The settings of this place for a process in another folder: what .env says, paths made absolute."""
    own = {key: value for key, value in dotenv_values(root / ".env").items() if value is not None}
    found = {key: value for key, value in (own | dict(os.environ)).items() if key.startswith("RETRIEVAL_")}
    return found | {key: str((root / found.get(key, default)).resolve()) for key, default in PATHS.items()}


def remove_leftovers(root: Path) -> None:
    """Give back local changes of experiments that were killed, and delete their temporary checkouts, those left alone in which a process works."""
    give_back_changes(root)
    used = {process.info["cwd"] or "" for process in psutil.process_iter(["cwd"])}
    for folder in (root.resolve() / ".dvc/tmp/exps/standalone").glob("tmp*"):
        if not any(Path(place).is_relative_to(folder) for place in used):
            shutil.rmtree(folder, ignore_errors=True)


def per_query_of(root: Path, commit: str, benchmark: str) -> dict[str, dict[str, dict[str, float]]]:
    """The per-query table of a commit: values by setting, measure (`map`, `precision_at_1`) and query; empty where it has none."""
    file = f"reports/per_query/{benchmark}.csv"
    if not git(root, "ls-tree", "--name-only", commit, "--", file):
        return {}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in csv.DictReader(io.StringIO(git(root, "show", f"{commit}:{file}"))):
        own = found.setdefault(row["setting"], {"map": {}, "precision_at_1": {}})
        own["map"][row["query_id"]] = float(row["ap"])
        own["precision_at_1"][row["query_id"]] = float(row["precision_at_1"])
    return found


def metrics_of(root: Path, commit: str) -> dict[str, Metrics]:
    """The metrics files of a commit, by benchmark that its params.yaml names."""
    benchmarks = yaml.load(git(root, "show", f"{commit}:params.yaml"), Loader).get("benchmarks") or {}  # noqa: S506 -- a safe loader
    files = git(root, "ls-tree", "-r", "--name-only", commit, "--", "reports/metrics").splitlines()
    names = {Path(file).stem: file for file in files if Path(file).stem in benchmarks}
    return {name: Metrics.parse(json.loads(git(root, "show", f"{commit}:{file}")), f"{commit[:8]}:{file}") for name, file in names.items()}
