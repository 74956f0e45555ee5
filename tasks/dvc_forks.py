"""A process that has DVC loaded and forks for every command, so that a stage costs a fork instead of a second of imports.

`python dvc_forks.py`, standard input a Unix socket. A request is one JSON line, {"id": …, "arguments": […]}, sent with a file
descriptor for the command's output; the answers are {"id": …, "pid": …} at once and {"id": …, "status": …} at the end. Each
command has a session of its own, which is ended whole when the command dies. When the socket closes (the asking process is
gone), all are ended.
"""

import array
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tasks.rare_collections import collect_rarely  # noqa: E402
from tasks.supervisor import end  # noqa: E402

sys.path.pop(0)


def serve(asking: socket.socket) -> None:
    """Answer requests until the socket closes, then end what still runs."""
    children: dict[int, int] = {}
    collect_rarely()
    load_dvc()
    gc.freeze()  # what is loaded is never garbage, so children do not look at it
    deaths, died = os.pipe()
    os.set_blocking(died, False)
    signal.set_wakeup_fd(died, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: _leave(children))
    buffer, descriptors = b"", array.array("i")
    while True:
        ready = select.select([asking.fileno(), deaths], [], [])[0]
        if deaths in ready:
            os.read(deaths, 4096)
            _answer(asking, children)
        if asking.fileno() in ready:
            data, received, _, _ = socket.recv_fds(asking, 65536, 64)
            if not data:
                _leave(children)
            descriptors.extend(received)
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = _fork(request["arguments"], descriptors.pop(0), asking)
                children[pid] = request["id"]
                _send(asking, id=request["id"], pid=pid)


def load_dvc() -> None:
    """Import what `dvc repro` will use, by reading the graph once."""
    for name in ("dvc.cli", "dvc.cli.parser"):
        importlib.import_module(name)
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            list(repo.index.graph)
    except DvcException:  # the command itself will say what is wrong
        pass


def _send(asking: socket.socket, **answer: int) -> None:
    with contextlib.suppress(OSError):  # the asking process is gone; the next read says so
        asking.sendall(json.dumps(answer).encode() + b"\n")


def _fork(arguments: list[str], output: int, asking: socket.socket) -> int:
    """Run `dvc ARGUMENTS…` in a child; returns its process id."""
    pid = os.fork()
    if pid:
        os.close(output)
        return pid
    status = 255
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        asking.close()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.set_inheritable(0, True)
        os.closerange(3, 256)
        sys.stdout = os.fdopen(1, "w", buffering=1, errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="replace", closefd=False)
        from dvc.cli import main

        status = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _answer(asking: socket.socket, children: dict[int, int]) -> None:
    """Report every child that has ended, after ending what it left behind."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        end(pid)
        code = os.waitstatus_to_exitcode(status)
        _send(asking, id=children.pop(pid), status=code if code >= 0 else 128 - code)


def _leave(children: dict[int, int]) -> None:
    """End all that runs, and then this process; the dead are not waited for, so that none looks alive."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    end(*children)
    os._exit(0)


if __name__ == "__main__":
    serve(socket.socket(fileno=0))
