"""Records of runs: true measurements, next to the output, and a polite end on SIGTERM."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

STAGE = """
import sys, time
from pathlib import Path
from pipeline.stage.entry import run_stage
from pipeline.stage.run_record import Produced

def main(arguments):
    ballast = bytearray(64 * 2**20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    output = Path("out")
    output.mkdir(exist_ok=True)
    (output / "part").write_bytes(bytes(1000))
    Path("second.csv").write_bytes(bytes(24))
    print("ready", flush=True)
    time.sleep(float(arguments[0]))
    return Produced((output, Path("second.csv")), 50, "images")

run_stage(main)
"""


def start(seconds: float, **variables: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(PROJECT)} | variables
    return subprocess.Popen([sys.executable, "-c", STAGE, str(seconds)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_record_tells_what_the_run_cost(workplace: Path) -> None:
    process = start(0.5)
    process.communicate(timeout=300)
    assert process.returncode == 0
    record = json.loads(Path("out.run.json").read_text(encoding="utf-8"))
    assert record["bytes_written"] == 1024
    assert (record["count"], record["unit"], record["peak_gpu_bytes"]) == (50, "images", 0)
    assert 0.5 <= record["seconds"] < 60
    assert record["per_second"] * record["seconds"] == pytest.approx(50, rel=0.01)
    assert 64 * 2**20 < record["peak_memory_bytes"] < 2**30
    assert record["started"] <= record["finished"]


def test_a_terminated_stage_says_so_and_leaves_no_record(workplace: Path) -> None:
    process = start(60)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert errors == "error: interrupted; finished shards are kept, run again to go on\n"
    assert not Path("out.run.json").exists()


def test_a_level_that_is_none_is_one_line(workplace: Path) -> None:
    process = start(0, RETRIEVAL_LOG="loud")
    _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors.partition("CRITICAL")[0]) == (1, "error: RETRIEVAL_LOG=LOUD: unknown; allowed: ")
