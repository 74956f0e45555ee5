"""What the flow costs over plain `dvc repro`: fresh clones of the project, built in turn, and the time of a run with nothing to do.

    python -m bench.orchestration [--repeats 3] [--server]

With --server the flow runs on a Prefect server that is up already, as on a GPU box; else it brings its own, as `make repro` does.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

PROJECT = Path(__file__).resolve().parent.parent
PLAIN = [sys.executable, "-m", "dvc", "repro"]
FLOW = [sys.executable, "-m", "cli", "repro"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--server", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="orchestration-") as place:
        folder = Path(place)
        environment = os.environ | {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_LOGGING_LEVEL": "WARNING", "DO_NOT_TRACK": "1"}
        environment.pop("PREFECT_API_URL", None)
        with _server(folder, environment) if options.server else _temporary(folder, environment) as own:
            _measure(folder, own, options.repeats)


def _measure(folder: Path, environment: dict[str, str], repeats: int) -> None:
    ratios = []
    for index in range(repeats):
        order = [("plain", PLAIN), ("flow", FLOW)]
        seconds = {}
        for name, command in order if index % 2 == 0 else reversed(order):
            clone = folder / f"{name}-{index}"
            subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
            seconds[name] = _time(command, clone, environment)
        again = _time(FLOW, folder / f"flow-{index}", environment)
        ratios.append(seconds["flow"] / seconds["plain"])
        print(
            f"plain {seconds['plain']:.1f} s, flow {seconds['flow']:.1f} s, ratio {ratios[-1]:.3f}; flow with nothing to do {again:.1f} s", flush=True
        )
    print(f"median ratio of {repeats} pairs: {statistics.median(ratios):.3f}")


def _time(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


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
        while True:
            try:
                if httpx.get(f"{address}/health", timeout=5).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield environment | {"PREFECT_API_URL": address}
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
