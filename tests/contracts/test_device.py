"""The lock of a device: one holder at a time, freed by any death; the processor is not locked."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pipeline.contracts.device import hold
from tests.conftest import PROJECT

HOLD = """
import sys, torch
from pipeline.contracts.device import hold
with hold(torch.device("cuda", 93)):
    print("held", flush=True)
    sys.stdin.read()
"""


def start(folder: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "TMPDIR": str(folder)}
    return subprocess.Popen([sys.executable, "-c", HOLD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_second_stage_waits_for_the_device_and_gets_it_when_the_first_is_killed(tmp_path: Path) -> None:
    first = start(tmp_path)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    second = start(tmp_path)
    assert second.stdin is not None
    assert second.stdout is not None
    time.sleep(3)
    assert second.poll() is None
    assert select.select([second.stdout], [], [], 0)[0] == [], "it waits"
    first.kill()
    first.wait()
    assert second.stdout.readline() == "held\n"
    second.stdin.close()
    assert second.wait(10) == 0


def test_the_processor_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with hold(torch.device("cpu")) as one, hold(torch.device("cpu")) as other:
        assert one == other
    assert list(tmp_path.iterdir()) == []
