"""Rebuilds of a part, experiments and sweeps in turn, with real DVC: nothing that did not run is recorded as made from what there is now."""

from pathlib import Path

import pytest

from tasks.experiments import find_experiment, run_experiment
from tasks.planning import Verdict, make_plan
from tasks.processes import Processes
from tasks.workspace import save_experiment
from tests.tasks.script_project import ORDER, ScriptProject, git


@pytest.fixture
def committed(built: ScriptProject) -> ScriptProject:
    """A project after `dvc repro`, in Git."""
    git(built.folder, "add", ".")
    git(built.folder, "commit", "-qm", "Start")
    return built


def outputs(project: ScriptProject) -> dict[str, str]:
    return {name: (project.folder / "data" / name).read_text(encoding="utf-8") for name in ORDER}


def stale(project: ScriptProject) -> set[str]:
    return {planned.stage.name for planned in make_plan(project.folder).stages if planned.verdict is not Verdict.UP_TO_DATE}


def test_an_experiment_records_what_ran_and_no_more(committed: ScriptProject, tmp_path: Path) -> None:
    committed.set(left=2)
    committed.dvc("repro", "left")
    committed.set(alone=3)
    committed.dvc("repro", "alone")
    name = save_experiment(committed.folder, ["alone=3"])
    assert stale(committed) == {"join", "tail"}, "they are still made from the left before"
    assert name in committed.dvc("exp", "list", "--name-only")
    processes = Processes(committed.folder)
    done = run_experiment(processes, "cell", ["right=5"], ["right"], lambda line: None)
    assert done.status == 0, done.lines
    assert find_experiment(committed.folder, "cell")
    assert stale(committed) == {"join", "tail"}
    committed.dvc("repro")
    assert stale(committed) == set()
    fresh = ScriptProject(tmp_path / "fresh")
    fresh.set(left=2, alone=3)
    fresh.dvc("repro")
    assert outputs(committed) == outputs(fresh)


def test_an_experiment_is_applied_as_it_was(committed: ScriptProject) -> None:
    committed.set(alone=3)
    committed.dvc("repro", "alone")
    name = save_experiment(committed.folder, ["alone=3"])
    committed.set(alone=4)
    committed.dvc("repro", "alone")
    committed.dvc("exp", "apply", name)
    assert outputs(committed)["alone"] == "3"
    assert stale(committed) == set()
    assert git(committed.folder, "log", "-1", "--format=%s") == "Start", "the branch is as before"
