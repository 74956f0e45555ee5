"""A Ray cluster on this machine against the stages themselves, on the same buckets: processor time, time, and memory as the data grow.

    python -m bench.scale [IMAGES…] [--stage resize|distractors]        10,000 where none are named

`resize` takes a millisecond for an image, so that it shows what Ray itself costs. `distractors` describes them at 224 pixels, as real work does.
Images are those of bench.million. Processor time is that of the whole machine, Ray's own processes included, so nothing else may run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.million import BEFORE, ROOT, prepare
from bench.million import STAGES as ALL
from bench.million import run as finish
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.run_record import record_path
from pipeline.stage.tables import read_json

STAGES = {stage: own for stage, *own in ALL if stage in ("resize", "distractors")}
"""Module, what it is run for, and output."""
CHANGES: dict[str, dict[str, object]] = {"resize": {}, "distractors": {"resize.pixels": 224, "resize.enlarge": True}}
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


def run(folder: Path, stage: str, variables: dict[str, str]) -> Cost:
    """Compute everything anew."""
    module, name, path = STAGES[stage]
    environment = os.environ | {"RETRIEVAL_STORE_GIB": "0", "RETRIEVAL_WORKERS": "1", "PYTHONPATH": str(ROOT)} | variables
    before, started = busy(), time.perf_counter()
    subprocess.run([sys.executable, "-m", module, name], cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    seconds, processor = time.perf_counter() - started, busy() - before
    output = folder / "data" / path
    digests = tuple(file_sha256(file) for file in sorted(output.iterdir()))
    return Cost(seconds, processor, read_json(record_path(output))["peak_memory_bytes"] / 2**20, digests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=int, nargs="*", default=[10_000])
    parser.add_argument("--stage", choices=STAGES, default="resize")
    arguments = parser.parse_args()
    for images in arguments.images:
        with tempfile.TemporaryDirectory(prefix="scale-") as place:
            folder = Path(place)
            prepare(folder, images, CHANGES[arguments.stage])
            if arguments.stage != "resize":
                for each in (*BEFORE, STAGES["resize"]):
                    finish(folder, *each)
            costs = {way: run(folder, arguments.stage, variables) for way, variables in WAYS.items()}
        inline = costs["inline"]
        for way, cost in costs.items():
            same = "the same files" if cost.digests == inline.digests else "OTHER FILES"
            ratio = f"{cost.processor / inline.processor:.2f} times inline"
            took = f"{cost.seconds:.1f} s\t{cost.processor:.1f} s of processor, {ratio}"
            print(f"{images}\t{arguments.stage}, {way}\t{took}\tpeak {cost.peak:.0f} MiB\t{same}", flush=True)


if __name__ == "__main__":
    main()
