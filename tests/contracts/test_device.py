"""The lock of a device: one holder at a time, freed by any death; the processor is not locked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.contracts.running.device import hold
from pipeline.contracts.running.settings import cores
from tests.conftest import PROJECT

HOLD = """
import logging, sys, torch
from pipeline.contracts.running.device import hold
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
with hold(torch.device("cuda", 93)):
    print("held", flush=True)
    sys.stdin.read()
"""


def start(folder: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "TMPDIR": str(folder)}
    return subprocess.Popen([sys.executable, "-c", HOLD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_second_stage_waits_for_the_device_and_gets_it_when_the_first_is_killed(tmp_path: Path) -> None:
    first = start(tmp_path)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    second = start(tmp_path)
    assert second.stdin is not None
    assert second.stdout is not None
    assert "another stage holds it" in second.stdout.readline()
    first.kill()
    first.communicate()
    assert second.stdout.readline() == "held\n"
    second.communicate()
    assert second.returncode == 0


def test_a_process_that_has_its_turn_does_not_wait_for_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # the stages of other tests have turns of their own
    monkeypatch.setenv("RETRIEVAL_WORKERS", str(cores()))
    with hold(torch.device("cpu")) as one, hold(torch.device("cpu")) as other:
        assert one == other
