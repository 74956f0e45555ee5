"""Rebuilds of a part, experiments and sweeps in turn, with real DVC: nothing that did not run is recorded as made from what there is now."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.experiments import find_experiment, remove_experiment, remove_leftovers, run_experiment
from tasks.local_changes import kept_changes
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
    remove_experiment(committed.folder, "cell")
    assert find_experiment(committed.folder, "cell") is None
    assert name in committed.dvc("exp", "list", "--name-only"), "others stay"
    assert stale(committed) == {"join", "tail"}
    committed.dvc("repro")
    assert stale(committed) == set()
    fresh = ScriptProject(tmp_path / "fresh")
    fresh.set(left=2, alone=3)
    fresh.dvc("repro")
    assert outputs(committed) == outputs(fresh)


def test_an_experiment_that_is_killed_gives_local_changes_back(committed: ScriptProject) -> None:
    """DVC takes them out of the checkout while it makes an experiment of them; a kill in that moment leaves them in a stash of its own."""
    folder = committed.folder
    before = (folder / "stage.py").read_text(encoding="utf-8")
    (folder / "stage.py").write_text(before + "# mine\n", encoding="utf-8")
    mine, branch = git(folder, "diff", "HEAD"), git(folder, "symbolic-ref", "HEAD")
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", "ended", "--set-param", "right=6", "right"]
    with kept_changes(folder):
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while (folder / "stage.py").read_text(encoding="utf-8") != before:
            assert process.poll() is None, "the changes were never out"
            time.sleep(0.001)
        process.kill()
        process.wait()
        assert git(folder, "diff", "HEAD") != mine
    assert git(folder, "diff", "HEAD") == mine
    assert git(folder, "symbolic-ref", "HEAD") == branch
    assert git(folder, "for-each-ref", "refs/retrieval") == ""


def test_what_a_lost_machine_left_out_comes_back_unless_somebody_worked_meanwhile(committed: ScriptProject, caplog: pytest.LogCaptureFixture) -> None:
    folder = committed.folder
    for later in ("", "# later\n"):
        before = (folder / "stage.py").read_text(encoding="utf-8")
        (folder / "stage.py").write_text(before + "# mine\n", encoding="utf-8")
        kept = kept_changes(folder)
        kept.__enter__()
        git(folder, "reset", "-q", "--hard")
        (folder / "stage.py").write_text(before + later, encoding="utf-8")
        remove_leftovers(folder)
        assert (folder / "stage.py").read_text(encoding="utf-8") == before + (later or "# mine\n")
        git(folder, "checkout", "-q", "stage.py")
    assert "`git stash apply refs/retrieval/local-changes` puts them back" in caplog.text
    git(folder, "stash", "apply", "refs/retrieval/local-changes")
    assert (folder / "stage.py").read_text(encoding="utf-8").endswith("# mine\n")


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
