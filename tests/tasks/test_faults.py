"""Faults of the place that DVC runs in: none passes for a completed stage, and the reason says what helps."""

import subprocess
from collections.abc import Iterator

import pytest
import yaml

from pipeline.stage.errors import ParameterError
from tasks.execution import Execution
from tasks.records import lock_entries
from tasks.stages import StageResult, StageState
from tests.tasks.script_project import ScriptProject


def run(project: ScriptProject, target: str) -> StageResult:
    execution = Execution(project.folder, [target])
    execution.begin()
    for feed in execution.events():
        list(getattr(feed, "lines", list)())
    execution.stop()
    return next(result for result in execution.results if result.stage.name == target)


@pytest.fixture
def small_cache(project: ScriptProject) -> Iterator[ScriptProject]:
    """A project whose cache lies on a disk of one MiB, with a stage that makes three files of 700 kB."""
    content = yaml.safe_load((project.folder / "dvc.yaml").read_text(encoding="utf-8"))
    command = "mkdir -p big && for name in 1 2 3; do head -c 700000 /dev/urandom > big/$name; done"
    content["stages"]["big"] = {"cmd": command, "outs": ["big"]}
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    cache = project.folder / ".dvc/cache"
    cache.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(cache)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield project
    subprocess.run(["umount", str(cache)], check=True)


def test_a_full_cache_fails_the_stage_although_dvc_says_nothing(small_cache: ScriptProject) -> None:
    result = run(small_cache, "big")
    assert result.state is StageState.FAILED
    assert result.reason.startswith("DVC could not keep all of its output: failed to transfer")
    assert "No space left on device" in result.reason


def test_a_damaged_lock_of_dvc_is_named_with_what_helps(built: ScriptProject) -> None:
    built.set(alone=2)
    lock = built.folder / ".dvc/tmp/rwlock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("", encoding="utf-8")
    result = run(built, "alone")
    assert result.state is StageState.FAILED
    assert result.reason.endswith("; delete .dvc/tmp/rwlock while no other DVC runs")
    lock.unlink()
    assert run(built, "alone").state is StageState.COMPLETED


@pytest.mark.parametrize("text", ["[]", "[1, 2]", "stages: [1", "stages: 3", "[" * 3000, "<<<<<<< ours\n=======\n"])
def test_a_damaged_dvc_lock_is_one_line(text: str) -> None:
    with pytest.raises(ParameterError, match=r"dvc\.lock: not valid") as caught:
        lock_entries(text)
    assert "\n" not in str(caught.value)
