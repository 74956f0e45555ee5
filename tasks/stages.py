"""Running one stage through DVC, and telling from DVC's lines what became of it."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.stage.run_record import RunRecord
from tasks.dvc_processes import DvcProcesses
from tasks.planning import PlannedStage
from tasks.processes import Finished
from tasks.records import latest, remember
from tasks.stage_graph import Stage

HINTS = ("To track the changes with git", "To enable auto staging", "git add ", "dvc config core.autostage", "Use `dvc push`", "Updating lock file")
"""Lines of DVC that say nothing of the stage."""
BUSY = "is busy, it is being blocked by"
NOT_KEPT = "ERROR: failed to transfer"
"""DVC ends without an error although a file did not fit into its cache, and records the output all the same."""
ADVICE = {"Unable to read RWLock-file": "delete .dvc/tmp/rwlock while no other DVC runs"}
"""What helps, by what DVC says."""
BUSY_PATIENCE = 120.0
"""Seconds to wait for another DVC process that reads or writes the same files."""
TEMPORARY = 75
"""Exit status of a stage whose source does not answer now (contracts.errors.UnreachableError)."""


class StageState(StrEnum):
    """What became of a stage."""

    COMPLETED = "Completed"
    RESTORED = "Restored"
    UP_TO_DATE = "UpToDate"
    FAILED = "Failed"
    BLOCKED = "Blocked"

    @property
    def good(self) -> bool:
        return self in (StageState.COMPLETED, StageState.RESTORED, StageState.UP_TO_DATE)


@dataclass(frozen=True)
class StageResult:
    """What became of a stage, the seconds it took as a whole, the reason of a failure, and what the run cost where there was one."""

    stage: Stage
    state: StageState
    seconds: float = 0.0
    reason: str = ""
    record: RunRecord | None = None


def reproduce(processes: DvcProcesses, planned: PlannedStage, log: Callable[[str], None], *, force: bool, retries: int, delay: float) -> StageResult:
    """Run `dvc repro` on one stage alone.

    A stage that failed because a server did not answer is tried again; one whose files another DVC process holds waits for it.

    Args:
        retries: how often at most.
        delay: seconds before the first retry; doubles each time.
    """
    began, waited, tries = time.monotonic(), 0.0, 0
    show = only_telling(log)
    while True:
        done = processes.run(_command(planned.stage.name, force), show)
        if any(BUSY in line for line in done.lines) and done.status and waited < BUSY_PATIENCE:
            pause = min(1.0 + waited / 4, 10.0)
            log(f"Another DVC process holds files of {planned.stage.name}; trying again in {pause:.0f} s.")
            waited += pause
        elif _temporary(done) and tries < retries:
            pause = delay * 2**tries
            tries += 1
            log(f"{planned.stage.name}: {last_reason(done)}; retry {tries} of {retries} in {pause:.0f} s.")
        else:
            break
        if not processes.pause(pause):
            break
    return _result(processes.root, planned.stage, done, time.monotonic() - began)


def only_telling(log: Callable[[str], None]) -> Callable[[str], None]:
    """A log that leaves out DVC's hints."""

    def show(line: str) -> None:
        if _tells(line):
            log(line)

    return show


def _tells(line: str) -> bool:
    return not line.strip().startswith(HINTS)


def _command(name: str, force: bool) -> list[str]:
    return ["--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), name]


def _result(root: Path, stage: Stage, done: Finished, seconds: float) -> StageResult:
    lost = next((line for line in done.lines if line.startswith(NOT_KEPT)), None)
    if not done.status and lost:
        return StageResult(stage, StageState.FAILED, seconds, f"DVC could not keep all of its output: {lost.removeprefix('ERROR: ')}")
    if done.status:
        return StageResult(stage, StageState.FAILED, seconds, last_reason(done))
    state = state_of(done.lines, stage.name)
    if state is None:
        said = " / ".join(filter(_tells, done.lines)) or "nothing"
        return StageResult(stage, StageState.FAILED, seconds, f"DVC ended without an error and did not say what became of the stage; it said: {said}")
    if state is not StageState.COMPLETED:
        return StageResult(stage, state, seconds)
    remember(root, stage)
    return StageResult(stage, state, seconds, record=latest(root, stage))


def state_of(lines: tuple[str, ...], name: str) -> StageState | None:
    """What DVC's own lines say of a stage that ended well; None where no line says it."""
    quoted = re.escape(f"'{name}'")
    patterns = {
        StageState.RESTORED: rf"^Stage {quoted} is cached - skipping run",
        StageState.COMPLETED: rf"^Running stage {quoted}:",
        StageState.UP_TO_DATE: rf"^Stage {quoted} didn't change, skipping",
    }
    for state, pattern in patterns.items():
        if any(re.match(pattern, line) for line in lines):
            return state
    return None


def _temporary(done: Finished) -> bool:
    return done.status != 0 and any(line.endswith(f"exited with {TEMPORARY}") for line in done.lines)


def last_reason(done: Finished) -> str:
    """The line that says why: the stage's own, else DVC's, else the last."""
    for start in ("error: ", "ERROR: "):
        for line in reversed(done.lines):
            if line.startswith(start):
                advice = "".join(f"; {text}" for said, text in ADVICE.items() if said in line)
                return line.removeprefix(start) + advice
    last = f" ({done.lines[-1]})" if done.lines else ""
    return f"ended with exit status {done.status}{last}"
