"""Walking real DVC stages: states, branches side by side, failures and what they block, retries, busy files, ends that leave nothing."""

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import psutil
import pytest

from tasks.dvc_processes import DvcProcesses
from tasks.planning import PlannedStage, make_plan
from tasks.stages import StageResult, StageState, reproduce, state_of
from tasks.summary import counts, failure, mermaid, stage_rows
from tasks.walk import Report, Walk
from tests.tasks.script_project import ScriptProject

HANG = 300
"""Seconds after which a wait counts as one without end."""


class Walker(Protocol):
    """Carries out the project's plan; returns each stage's result by its name."""

    def __call__(
        self, *, force: bool = False, keep_going: bool = True, parallel: int = 2, retries: int = 0, log: Callable[[str], None] = lambda line: None
    ) -> dict[str, StageResult]: ...


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DvcProcesses]:
    """DVC, loaded once for the folder that every test makes its project in."""
    processes = DvcProcesses(tmp_path_factory.mktemp("walk"))
    yield processes
    processes.stop()


@pytest.fixture
def project(loaded: DvcProcesses) -> ScriptProject:
    """A project that has not run."""
    for entry in loaded.root.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return ScriptProject(loaded.root)


@pytest.fixture
def walk(project: ScriptProject, loaded: DvcProcesses) -> Walker:
    def carry_out(
        *, force: bool = False, keep_going: bool = True, parallel: int = 2, retries: int = 0, log: Callable[[str], None] = lambda line: None
    ) -> dict[str, StageResult]:
        with ThreadPoolExecutor(parallel) as pool:

            def start(planned: PlannedStage, report: Report) -> None:
                pool.submit(lambda: report(reproduce(loaded, planned, log, force=force, retries=retries, delay=0.1)))

            plan = make_plan(project.folder, force=force)
            results = Walk(plan, start, lambda result: None, parallel=parallel, keep_going=keep_going).run()
        return {result.stage.name: result for result in results}

    return carry_out


def states(results: dict[str, StageResult]) -> dict[str, str]:
    return {name: str(result.state) for name, result in results.items()}


def test_the_first_walk_completes_and_the_second_starts_nothing(project: ScriptProject, walk: Walker) -> None:
    assert set(states(walk()).values()) == {"Completed"}
    assert project.runs() == ["alone", "join", "left", "right", "tail"]
    assert set(states(walk()).values()) == {"UpToDate"}
    assert project.runs() == []
    assert "up to date" in project.dvc("status"), "the walk left what plain `dvc repro` would have left"


def test_the_lines_that_tell_what_became_of_a_stage_are_those_of_this_dvc(built: ScriptProject) -> None:
    ran = tuple(built.dvc("repro", "--force", "--single-item", "alone").splitlines())
    assert state_of(ran, "alone") is StageState.COMPLETED
    assert state_of(tuple(built.dvc("repro", "--single-item", "alone").splitlines()), "alone") is StageState.UP_TO_DATE
    (built.folder / "data/alone").unlink()
    assert state_of(tuple(built.dvc("repro", "--single-item", "alone").splitlines()), "alone") is StageState.RESTORED


def test_words_that_are_not_known_are_no_success(project: ScriptProject, loaded: DvcProcesses) -> None:
    """A DVC that ends well and says nothing of the stage."""
    planned = next(each for each in make_plan(project.folder).stages if each.stage.name == "left")
    stage = dataclasses.replace(planned, stage=dataclasses.replace(planned.stage, name="--quiet"))
    result = reproduce(loaded, stage, lambda line: None, force=False, retries=0, delay=0)
    assert result.state is StageState.FAILED
    assert "did not say what became of the stage; it said: nothing" in result.reason


def test_restored_results_are_told_from_computed_ones(built: ScriptProject, walk: Walker) -> None:
    built.set(left=2)
    assert states(walk()) == {"left": "Completed", "right": "UpToDate", "join": "Completed", "tail": "Completed", "alone": "UpToDate"}
    built.set(left=1)
    built.runs()
    assert states(walk()) == {"left": "Restored", "right": "UpToDate", "join": "Restored", "tail": "Restored", "alone": "UpToDate"}
    assert built.runs() == []


def test_equal_results_end_the_rebuild_early(built: ScriptProject, walk: Walker) -> None:
    with (built.folder / "stage.py").open("a", encoding="utf-8") as stream:
        stream.write("# a remark\n")
    built.dvc("commit", "--force", "join", "tail", "alone", "right")
    assert states(walk()) == {"left": "Completed", "right": "UpToDate", "join": "UpToDate", "tail": "UpToDate", "alone": "UpToDate"}
    assert built.runs() == ["left"]


def test_a_failure_blocks_what_needs_it_and_nothing_else(project: ScriptProject, walk: Walker) -> None:
    project.set(left="fail")
    results = walk()
    assert states(results) == {"left": "Failed", "right": "Completed", "join": "Blocked", "tail": "Blocked", "alone": "Completed"}
    assert results["left"].reason == "left cannot be made"
    assert results["tail"].reason == "needs join"
    assert failure(list(results.values())).splitlines() == [
        "left failed: left cannot be made",
        "not run: join, tail; out of date or missing: data/join, data/tail",
    ]
    project.set(left=1)
    project.runs()
    assert states(walk())["tail"] == "Completed"
    assert project.runs() == ["join", "left", "tail"]


def test_on_request_the_walk_stops_at_a_failure(project: ScriptProject, walk: Walker) -> None:
    project.set(left="fail")
    results = walk(keep_going=False, parallel=1)
    assert results["right"].reason == results["alone"].reason == "stopped after left failed"


def test_force_runs_all(built: ScriptProject, walk: Walker) -> None:
    assert set(states(walk(force=True)).values()) == {"Completed"}
    assert len(built.runs()) == 5


def test_independent_branches_run_side_by_side(project: ScriptProject, walk: Walker) -> None:
    """Each of the two waits for the other: one after the other they would wait without end."""
    project.set(left="meet right", right="meet left")
    assert set(states(walk()).values()) == {"Completed"}


def test_only_what_a_retry_can_help_is_tried_again(project: ScriptProject, walk: Walker) -> None:
    project.set(left="unreachable", alone="fail")

    def go_online(line: str) -> None:
        if "retry 2 of" in line:
            (project.folder / "online").touch()

    results = walk(retries=6, log=go_online)
    assert results["left"].state is StageState.COMPLETED
    assert results["alone"].state is StageState.FAILED
    ran = project.runs()
    assert ran.count("left") == 3
    assert ran.count("alone") == 1


def test_retries_come_to_an_end(project: ScriptProject, walk: Walker) -> None:
    project.set(left="unreachable")
    assert walk(retries=2)["left"].reason == "nobody answers"
    assert project.runs().count("left") == 3


def test_another_dvc_process_costs_no_result(project: ScriptProject, walk: Walker) -> None:
    """DVC gives its lock up while a stage runs; `dvc status` in a loop holds it when the stage wants it back."""
    project.set(left=1.0, right=1.0, join=1.0)
    ended, asked = threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            asked.append(subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=project.folder, capture_output=True, check=False).returncode)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    results = walk()
    ended.set()
    for asker in askers:
        asker.join()
    assert set(states(results).values()) == {"Completed"}, failure(list(results.values()))
    assert len(asked) > 2
    assert project.runs() == ["alone", "join", "left", "right", "tail"], "no stage ran twice"


def test_stopping_ends_every_process_of_a_stage(project: ScriptProject) -> None:
    project.set(left=600.0)
    processes = DvcProcesses(project.folder)
    planned = next(each for each in make_plan(project.folder).stages if each.stage.name == "left")
    results: list[StageResult] = []
    thread = threading.Thread(target=lambda: results.append(reproduce(processes, planned, lambda line: None, force=False, retries=5, delay=60)))
    thread.start()
    pid = wait_for_pid(project)
    processes.stop()
    thread.join(HANG)
    assert not thread.is_alive()
    assert results[0].state is StageState.FAILED
    assert not psutil.pid_exists(pid)
    assert processes.run(["version"]).status != 0, "nothing starts after the stop"


def test_stopping_ends_the_wait_before_a_retry(project: ScriptProject) -> None:
    project.set(left="unreachable")
    processes = DvcProcesses(project.folder)
    planned = next(each for each in make_plan(project.folder).stages if each.stage.name == "left")
    lines: list[str] = []
    results: list[StageResult] = []
    thread = threading.Thread(target=lambda: results.append(reproduce(processes, planned, lines.append, force=False, retries=5, delay=600)))
    thread.start()
    deadline = time.monotonic() + HANG
    while not any("retry 1 of 5 in 600 s" in line for line in lines):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes.stop()
    thread.join(HANG)
    assert not thread.is_alive()
    assert results[0].reason == "nobody answers"


STARTER = """
import sys
from pathlib import Path
from tasks.dvc_processes import DvcProcesses
DvcProcesses(Path.cwd()).run(["repro", "left"])
"""


@pytest.mark.parametrize("victim", ["starter", "dvc", "loaded"])
def test_no_stage_outlives_its_starter(project: ScriptProject, victim: str, walk: Walker) -> None:
    project.set(left=600.0)
    starter = subprocess.Popen([sys.executable, "-c", STARTER], cwd=project.folder)
    pid = wait_for_pid(project)
    ancestors = psutil.Process(pid).parents()
    dvc, loaded = (process for process in ancestors if any("dvc_forks.py" in part for part in process.cmdline()))
    os.kill({"starter": starter.pid, "dvc": dvc.pid, "loaded": loaded.pid}[victim], 9)
    starter.wait(HANG)
    deadline = time.monotonic() + HANG
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)
    project.set(left=1)
    assert states(walk())["left"] == "Completed", "nothing stays locked"


def wait_for_pid(project: ScriptProject) -> int:
    file = project.folder / "left.pid"
    deadline = time.monotonic() + HANG
    while not (file.exists() and file.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(file.read_text(encoding="utf-8"))


def test_a_run_is_shown_by_stage_and_as_a_picture(project: ScriptProject, walk: Walker) -> None:
    project.set(left="fail")
    results = list(walk().values())
    assert counts(results) == "2 Completed, 1 Failed, 2 Blocked"
    rows = {row["stage"]: row for row in stage_rows(results)}
    assert rows["left"]["reason"] == "left cannot be made"
    assert float(rows["right"]["seconds"]) > 0
    picture = mermaid(results).splitlines()
    numbers = {result.stage.name: f"s{index}" for index, result in enumerate(results)}
    assert picture[0] == "graph TB"
    assert f"  {numbers['left']} --> {numbers['join']}" in picture
    assert any(line.endswith(":::Blocked") for line in picture)
    assert sum("classDef" in line for line in picture) == 5
