"""What the flow costs over plain `dvc repro`, in time and in processor time: fresh clones of the project, built in turn, and runs with nothing to do.

    python -m bench.orchestration [--repeats 3] [--server]

With --server the flow runs on a Prefect server that is up already, as on a GPU box; else it brings its own, as `make repro` does.
"""

import argparse
import ctypes
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from bench.timing import processor_seconds

PROJECT = Path(__file__).resolve().parent.parent
PLAIN = [sys.executable, "-m", "dvc", "repro"]
FLOW = [sys.executable, "-m", "cli", "repro"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--server", action="store_true")
    options = parser.parse_args()
    _adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="orchestration-") as place:
        folder = Path(place)
        environment = os.environ | {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_LOGGING_LEVEL": "WARNING", "DO_NOT_TRACK": "1"}
        environment.pop("PREFECT_API_URL", None)
        with _server(folder, environment) if options.server else _temporary(folder, environment) as own:
            _measure(folder, own, options.repeats)


@dataclass(frozen=True)
class Cost:
    """Seconds that a command took, and processor seconds of all its processes."""

    seconds: float
    processor: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s ({self.processor:.1f} s of processor)"


def _measure(folder: Path, environment: dict[str, str], repeats: int) -> None:
    pairs: list[tuple[Cost, Cost]] = []
    idle: list[tuple[Cost, Cost]] = []
    for index in range(repeats):
        order = [("plain", PLAIN), ("flow", FLOW)]
        costs = {}
        for name, command in order if index % 2 == 0 else reversed(order):
            clone = folder / f"{name}-{index}"
            subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
            costs[name] = _cost(command, clone, environment)
        pairs.append((costs["plain"], costs["flow"]))
        idle.append((_cost(PLAIN, folder / f"plain-{index}", environment), _cost(FLOW, folder / f"flow-{index}", environment)))
        print(f"plain {costs['plain']}, flow {costs['flow']}; with nothing to do plain {idle[-1][0]}, flow {idle[-1][1]}", flush=True)
    seconds = statistics.median(flow.seconds / plain.seconds for plain, flow in pairs)
    processor = statistics.median(flow.processor / plain.processor for plain, flow in pairs)
    more = statistics.median(flow.seconds - plain.seconds for plain, flow in idle)
    print(f"median of {repeats} pairs, flow to plain: time {seconds:.3f}, processor time {processor:.3f}; with nothing to do {more:+.1f} s")


def _cost(command: list[str], folder: Path, environment: dict[str, str]) -> Cost:
    """The command's cost, with that of processes that outlive it: this process becomes their parent and waits for them."""
    kept = {child.pid for child in psutil.Process().children()}
    began, before = time.monotonic(), processor_seconds()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    while orphans := {child.pid for child in psutil.Process().children()} - kept:
        for orphan in orphans:
            os.waitpid(orphan, 0)
    return Cost(seconds, processor_seconds() - before)


def _adopt_orphans() -> None:
    """Make this process the parent of those whose own parent ends (Linux)."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


@contextmanager
def _temporary(folder: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Nothing but Prefect's database, which is made once per machine."""
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    yield environment


@contextmanager
def _server(folder: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}/api"
        with httpx.Client(timeout=5) as client:
            while True:
                try:
                    if client.get(f"{address}/health").is_success:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
        yield environment | {"PREFECT_API_URL": address}
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
