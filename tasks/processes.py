"""Commands that die with their starter, their lines handed on as they come."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.stage.errors import PipelineError

SUPERVISOR = Path(__file__).with_name("supervisor.py")
LINES_KEPT = 400
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=30 -o ServerAliveCountMax=4"
"""Asks for no password, and ends where the other side is gone."""
CAUSES = re.compile(r"! \[|remote: (error|fatal)|ssh: |permission denied|host key", re.IGNORECASE)
ERRORS = re.compile(r"error:|fatal:", re.IGNORECASE)
LINES_TOLD = 4


@dataclass(frozen=True)
class Finished:
    """A command's exit status and its last lines, standard error among them."""

    status: int
    lines: tuple[str, ...]


class Processes:
    """The commands of one run; `stop` ends those that are still going."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def run(self, command: Sequence[str], log: Callable[[str], None] | None = None, environment: Mapping[str, str] | None = None) -> Finished:
        """Run a command in the project's folder to its end; its lines go to `log`, `environment` is added to this process's own."""
        with self._lock:
            if self._stopped.is_set():
                return Finished(130, ("stopped before it began",))
            process = subprocess.Popen(
                supervised(command),
                cwd=self.root,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            self._running.add(process)
        try:
            with process.stdout or contextlib.nullcontext(()) as output:
                lines = hand_on(output, log)
            return Finished(process.wait(), lines)
        finally:
            with self._lock:
                self._running.discard(process)
            _release(process)
            process.wait()  # else it would still change the checkout after an interrupt

    def stop(self) -> None:
        """End every command that is still running, and start no other."""
        with self._lock:
            self._stopped.set()
            for process in self._running:
                _release(process)


def hand_on(output: Iterable[str], log: Callable[[str], None] | None) -> tuple[str, ...]:
    """Hand lines on as they come, empty ones left out; returns the last of them at the output's end."""
    lines: deque[str] = deque(maxlen=LINES_KEPT)
    for line in output:
        text = line.rstrip()
        if text:
            lines.append(text)
            if log is not None:
                log(text)
    return tuple(lines)


def supervised(command: Sequence[str]) -> list[str]:
    """The command under a supervisor, which ends it when its own standard input closes."""
    return [sys.executable, "-I", "-S", str(SUPERVISOR), *command]


def _release(process: "subprocess.Popen[str]") -> None:
    """Close the supervisor's standard input, which ends whatever it still runs."""
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()


def run_checked(root: Path, *command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a short command in the project's folder and return what it printed; nothing waits for a password.

    Args:
        environment: variables added to this process's own.

    Raises:
        PipelineError: it failed; with the line that says why.
    """
    variables = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": SSH} | os.environ | dict(environment or {})
    held, ours = os.pipe()  # the supervisor sees its end close when this process is gone
    try:
        process = subprocess.Popen(
            supervised(command), cwd=root, env=variables, stdin=held, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        os.close(held)
        output, errors = process.communicate()
    finally:
        os.close(ours)
    if process.returncode:
        raise PipelineError(f"`{_named(command)}` failed: {_reason(errors, output, process.returncode)}")
    return output


def _named(command: Sequence[str]) -> str:
    """The program and what it was to do: `git commit`, `dvc push`, `cli check`."""
    words = [word for word in command if not word.startswith("-")]
    words = words[1:] if Path(words[0]).name.startswith("python") else words
    return " ".join(words[:2])


def _reason(errors: str, output: str, status: int) -> str:
    """The lines that say why: causes first, then those that begin like an error; else the last."""
    lines = [line.strip() for line in (errors.strip() or output.strip() or f"exit status {status}").splitlines()]
    told = [line for pattern in (CAUSES, ERRORS) for line in lines if pattern.match(line)]
    return "; ".join(list(dict.fromkeys(told))[:LINES_TOLD]) or lines[-1]
