"""Deaths in the middle of a stage, under a real server and worker: the next run finishes, nothing stays locked, nothing computes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import PROJECT
from tests.end_to_end.prefect_stack import PrefectStack
from tests.tasks.script_project import ScriptProject

pytestmark = pytest.mark.slow

HANG, ENDLESS = 300.0, 3600.0
"""Seconds after which a wait counts as one without end, and of a stage that nobody waits for: it ends earlier by its death alone."""


class Site:
    """A project of scripts with flows, on a server and a worker."""

    def __init__(self, folder: Path) -> None:
        self.project = ScriptProject(folder / "checkout")
        self.folder = self.project.folder
        for name in ("flows", "tasks"):
            shutil.copytree(PROJECT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("prefect.yaml", "prefect.toml"):
            shutil.copy(PROJECT / name, self.folder / name)
        self.stack = PrefectStack(folder / "prefect", self.folder)

    def stage_pid(self) -> int:
        """The process of the stage left, once it runs."""
        file = self.folder / "left.pid"
        while not (file.exists() and file.read_text(encoding="utf-8")):
            time.sleep(0.05)
        pid = int(file.read_text(encoding="utf-8"))
        file.unlink()
        return pid


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("site"))
    try:
        found.stack.start_server()
        command = [sys.executable, "-c", "from flows.launching import run_setup; run_setup()"]
        done = subprocess.run(command, cwd=found.folder, env=found.stack.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found.stack.start_worker()
        yield found
    finally:
        found.stack.stop()


def flow_process(stage: int) -> psutil.Process:
    """The process of the flow: the one that asked for the process which forks for DVC's commands."""
    loaded = [process for process in psutil.Process(stage).parents() if any("dvc_forks.py" in part for part in process.cmdline())]
    parent = loaded[-1].parent()
    assert parent is not None
    return parent


def gone(pid: int, seconds: float = HANG) -> bool:
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_after_any_death_the_next_run_goes_on_and_the_last_finishes(site: Site) -> None:
    ended: dict[str, str] = {}
    for victim in ("stage", "flow", "worker"):
        site.project.set(left=ENDLESS, right=victim)
        ended[victim] = site.stack.trigger("rebuild/rebuild")
        stage = site.stage_pid()
        flow = flow_process(stage)
        if victim == "worker":
            assert site.stack.worker is not None
            site.stack.worker.kill()
            site.stack.worker.wait()
        else:
            os.kill(stage if victim == "stage" else flow.pid, signal.SIGKILL)
        assert gone(stage), f"{victim}: the stage computes on"
        assert gone(flow.pid), f"{victim}: the flow runs on"
    site.stack.start_worker()
    site.project.set(left=3)
    state = site.stack.wait(site.stack.trigger("rebuild/rebuild"))
    assert state["name"] == "Completed", state
    assert (site.folder / "data/tail").read_text(encoding="utf-8") == "3-worker11"
    for victim, run in ended.items():
        assert site.stack.state(run)["type"] in ("FAILED", "CRASHED", "RUNNING"), victim
    assert "left failed" in site.stack.state(ended["stage"])["message"]


def test_a_run_outlives_a_killed_server(site: Site) -> None:
    site.project.set(left=12.0, right="server")
    run = site.stack.trigger("rebuild/rebuild")
    stage = site.stage_pid()
    assert site.stack.server is not None
    os.killpg(site.stack.server.pid, signal.SIGKILL)
    site.stack.server.wait()
    assert not gone(stage, 2), "a server that is away stops no work"
    site.stack.start_server()
    assert site.stack.wait(run)["name"] == "Completed"
    assert (site.folder / "data/tail").read_text(encoding="utf-8") == "12.0-server11"
    state = site.stack.wait(site.stack.trigger("rebuild/rebuild"))
    assert state["message"] == "5 UpToDate"


def test_a_cancelled_run_ends_at_once(site: Site) -> None:
    site.project.set(left=ENDLESS, right=5)
    run = site.stack.trigger("rebuild/rebuild")
    stage = site.stage_pid()
    flow = flow_process(stage)
    site.stack.ask("POST", f"/flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"}, force=True)
    assert gone(stage), "the stage computes on"
    assert gone(flow.pid), "the flow runs on"
    assert site.stack.wait(run)["type"] == "CANCELLED"
