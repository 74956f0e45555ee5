"""A real Ray cluster on this machine: the files that inline work gives, whoever dies meanwhile, and what is named when nothing helps."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.contracts.executors.executing import fresh_images, run_tasks
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.contracts.running.settings import settings
from pipeline.stage.errors import SanityError
from tests.conftest import PROJECT
from tests.contracts.squaring import Square, Squaring

pytest.importorskip("ray", reason="needs the extra `cluster`")
pytestmark = pytest.mark.slow

TASKS = [Square(number) for number in range(1, 9)]
DRIVER = """
import sys
from pathlib import Path
from pipeline.contracts.executors.executing import run_tasks
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from tests.contracts.squaring import Square, Squaring
with Progress("square", 0, "images") as progress:
    run_tasks(Squaring(Path("log"), pause=float(sys.argv[1])), [Square(number) for number in range(1, 9)], ScratchStore("square-x", "f"), progress)
"""
SOON_DEAD = {"RAY_health_check_period_ms": "500", "RAY_health_check_initial_delay_ms": "500"}
"""Ray looks for machines that died twice a second, so that a raylet's death is seen before its workers have done everything."""


@pytest.fixture
def variables(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of a run on two actors of one thread."""
    own = {"RETRIEVAL_EXECUTOR": "ray", "RETRIEVAL_WORKERS": "1", "RETRIEVAL_RAY_ACTORS": "2", "PYTHONPATH": str(PROJECT)}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    return os.environ | own


def files(store: ScratchStore) -> dict[str, str]:
    return {path.name: path.read_text() for path in store.folder.glob("*.txt")}


SQUARES = {f"{task.name}.txt": str(task.number**2) for task in TASKS}


def test_an_actor_that_dies_is_replaced_and_a_deadly_bucket_is_named(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    store = ScratchStore("square-x", "f")
    with pytest.raises(SanityError, match="part-00005: the workers that took it died, 3 times"), Progress("square", 36, "images") as progress:
        run_tasks(Squaring(Path("log").absolute(), deadly=5, deadly_once=2), TASKS, store, progress)
    assert files(store) == {name: text for name, text in SQUARES.items() if name != "part-00005.txt"}
    monkeypatch.setenv("RETRIEVAL_EXECUTOR", "inline")
    settings.cache_clear()
    with Progress("square", 36, "images") as progress:
        receipts = run_tasks(Squaring(Path("log").absolute()), TASKS, store, progress)
    assert files(store) == SQUARES
    assert (fresh_images(receipts), progress.skipped) == (5, 31)


@pytest.mark.parametrize("victim", ["driver", "raylet"])
def test_after_any_death_the_next_run_goes_on(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, victim: str) -> None:
    pause = {"driver": "1", "raylet": "6"}[victim]
    process = subprocess.Popen([sys.executable, "-c", DRIVER, pause], env=variables | SOON_DEAD, stderr=subprocess.PIPE)
    store = ScratchStore("square-x", "f")
    while not list(store.folder.glob("*.receipt.json")) and process.poll() is None:
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    names = {child: child.name() for child in children}
    raylet = next(child for child, name in names.items() if "raylet" in name)
    os.kill(process.pid if victim == "driver" else raylet.pid, signal.SIGKILL)
    _, told = process.communicate(timeout=120)
    assert process.returncode != 0
    assert victim == "driver" or b"no machine of it is left; run again" in told
    cluster = [child for child, name in names.items() if "raylet" in name or "gcs_server" in name or "ray::Bucket" in name]
    assert len(cluster) >= 3
    assert not psutil.wait_procs(cluster, timeout=60)[1], "the cluster ends with its stage"
    done = len(list(store.folder.glob("*.receipt.json")))
    assert 1 <= done < len(TASKS)
    monkeypatch.setenv("RETRIEVAL_EXECUTOR", "inline")
    settings.cache_clear()
    with Progress("square", 36, "images") as progress:
        receipts = run_tasks(Squaring(Path("log").absolute()), TASKS, store, progress)
    assert files(store) == SQUARES
    assert sum(receipt.earlier for receipt in receipts) == done
