"""Runs a command that ends when its starter ends: `python supervisor.py COMMAND…`, the starter holding the other end of standard input.

The command gets a session of its own. When standard input closes (the starter is gone, whatever killed it) or a polite
signal comes, the whole session is ended, politely first; when the command itself dies, so do those it left behind.
A file of the standard library alone, so that it starts in a few milliseconds.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

PATIENCE = 4.0
"""Seconds between asking and killing."""


def supervise(command: Sequence[str]) -> int:
    """Run the command to its end or ours; returns its exit status, 128 + N for a death by signal N."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: threading.Thread(target=end, args=(process.pid,)).start())
    threading.Thread(target=_watch, args=(process.pid,), daemon=True).start()
    status = process.wait()
    end(process.pid)
    return status if status >= 0 else 128 - status


def _watch(group: int) -> None:
    while os.read(0, 1024):
        pass
    end(group)


def end(*groups: int) -> None:
    """End every process of the groups that is still there, side by side."""
    deadline = time.monotonic() + PATIENCE
    left = [group for group in groups if _signal(group, signal.SIGTERM)]
    while left and time.monotonic() < deadline:
        left = [group for group in left if _signal(group, 0)]
        time.sleep(0.05 if left else 0)
    for group in left:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send a signal; False where the group is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]))
