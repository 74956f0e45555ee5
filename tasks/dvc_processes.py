"""DVC commands of one run: forks of one process that has DVC loaded, their lines handed on as they come; they die with this process."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from tasks.processes import Finished, hand_on
from tasks.supervisor import end

FORKS = Path(__file__).with_name("dvc_forks.py")
KILLED = 137
"""Exit status of a command whose process was taken away."""


class DvcProcesses:
    """Runs `dvc` with arguments, several at once; `stop` ends all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._asking: socket.socket | None = None
        self._pending: dict[int, Future[int]] = {}
        self._count = 0

    def start(self) -> None:
        """Start loading DVC; without a call, the first command does."""
        with self._lock:
            self._connect()

    def run(self, arguments: Sequence[str], log: Callable[[str], None] | None = None) -> Finished:
        """Run `dvc ARGUMENTS…` in the project's folder to its end; its lines go to `log`."""
        reading, writing = os.pipe()
        with os.fdopen(reading, errors="replace") as output:
            try:
                status = self._ask(arguments, writing)
            finally:
                os.close(writing)
            lines = hand_on(output, log)
        return Finished(status.result(), lines)

    def pause(self, seconds: float) -> bool:
        """Wait; False where `stop` ended the wait."""
        return not self._stopped.wait(seconds)

    def stop(self) -> None:
        """End every command that is still running, and start no other."""
        with self._lock:
            self._stopped.set()
            if self._asking is not None:
                self._asking.shutdown(socket.SHUT_WR)

    def _ask(self, arguments: Sequence[str], output: int) -> "Future[int]":
        with self._lock:
            status: Future[int] = Future()
            if self._stopped.is_set():
                status.set_result(KILLED)
                return status
            asking = self._connect()
            self._count += 1
            self._pending[self._count] = status
            request = json.dumps({"id": self._count, "arguments": list(arguments)}).encode() + b"\n"
            try:
                socket.send_fds(asking, [request], [output])
            except OSError:
                self._pending.pop(self._count).set_result(KILLED)
            return status

    def _connect(self) -> socket.socket:
        """The socket to the loaded process, which is started where it is not there."""
        if self._asking is None:
            self._asking, theirs = socket.socketpair()
            with theirs:
                process = subprocess.Popen([sys.executable, str(FORKS)], cwd=self.root, stdin=theirs.fileno())
            threading.Thread(target=self._listen, args=(self._asking, process), daemon=True).start()
        return self._asking

    def _listen(self, asking: socket.socket, process: "subprocess.Popen[bytes]") -> None:
        groups: dict[int, int] = {}
        with asking.makefile("rb") as answers:
            for line in answers:
                answer = json.loads(line)
                if "pid" in answer:
                    groups[answer["id"]] = answer["pid"]
                else:
                    self._settle(answer["id"], answer["status"])
        process.wait()
        with self._lock:
            self._asking = None
            lost = list(self._pending)
        asking.close()
        for each in lost:
            if each in groups:
                end(groups[each])
            self._settle(each, KILLED)

    def _settle(self, number: int, status: int) -> None:
        with self._lock:
            future = self._pending.pop(number, None)
        if future is not None:
            future.set_result(status)
