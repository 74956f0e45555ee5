"""A Ray cluster on this machine against the stage itself, on the same buckets: processor time, time, and memory of the stage as the data grow.

    python -m bench.scale [IMAGES…]        10,000 where none are named

Images are those of bench.million, resized. Processor time is that of the whole machine, Ray's own processes included, so nothing else may run.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.million import ROOT, prepare
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.run_record import record_path
from pipeline.stage.tables import read_json

OUTPUT = "images/many"
WAYS = {
    "inline": {"RETRIEVAL_EXECUTOR": "inline"},
    "ray, 1 actor": {"RETRIEVAL_EXECUTOR": "ray", "RETRIEVAL_RAY_ACTORS": "1"},
    "ray, 2 actors": {"RETRIEVAL_EXECUTOR": "ray", "RETRIEVAL_RAY_ACTORS": "2"},
}


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds, processor seconds of the machine, peak MiB of the stage's process, and the digests of its files."""

    seconds: float
    processor: float
    peak: float
    digests: tuple[str, ...]


def busy() -> float:
    """Processor seconds that this machine has worked since it started (Linux)."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def run(folder: Path, variables: dict[str, str]) -> Cost:
    """Resize everything anew."""
    environment = os.environ | {"RETRIEVAL_STORE_GIB": "0", "RETRIEVAL_WORKERS": "1", "PYTHONPATH": str(ROOT)} | variables
    before, started = busy(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "pipeline.imaging", "many"], cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    seconds, processor = time.perf_counter() - started, busy() - before
    output = folder / "data" / OUTPUT
    digests = tuple(file_sha256(path) for path in sorted(output.iterdir()))
    return Cost(seconds, processor, read_json(record_path(output))["peak_memory_bytes"] / 2**20, digests)


def main() -> None:
    for images in [int(size) for size in sys.argv[1:]] or [10_000]:
        with tempfile.TemporaryDirectory(prefix="scale-") as place:
            folder = Path(place)
            prepare(folder, images)
            costs = {way: run(folder, variables) for way, variables in WAYS.items()}
        inline = costs["inline"]
        for way, cost in costs.items():
            same = "the same files" if cost.digests == inline.digests else "OTHER FILES"
            ratio = f"{cost.processor / inline.processor:.2f} times inline"
            print(
                f"{images}\t{way}\t{cost.seconds:.1f} s\t{cost.processor:.1f} s of processor, {ratio}\tpeak {cost.peak:.0f} MiB\t{same}", flush=True
            )


if __name__ == "__main__":
    main()
