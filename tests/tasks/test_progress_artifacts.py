"""Live progress in Prefect, read off a stage's own lines, against a real server."""

import logging
import re
from collections.abc import Iterator

import pytest

from pipeline.contracts import progress
from pipeline.contracts.progress import EPOCH, LINE, Progress

EPOCH_LINES = (
    "finetune.described: epoch 0 of 2: map 0.5000, p_at_1 0.6000, spread 0.9000.",
    "finetune.described: epoch 1 of 2: loss 0.3000, active 0.2000, map 0.7000, p_at_1 0.8000, spread 0.9000.",
)


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=300):
        yield


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a stage without a terminal says while it works and trains."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    said: list[str] = []
    for title in ("extract", "finetune.described, epoch 2 of 2"):
        caplog.clear()
        with caplog.at_level(logging.INFO), Progress(title, 8, "images") as own:
            own.advance(2)
            own.advance(2)
        said += [record.getMessage() for record in caplog.records]
    return said


def test_lines_say_how_far_work_has_come(lines: list[str]) -> None:
    found = [match for line in lines if (match := LINE.match(line))]
    assert [(match["what"], match["done"], match["total"]) for match in found] == [
        ("extract", "2", "8"),
        ("extract", "4", "8"),
        ("finetune.described, epoch 2 of 2", "2", "8"),
        ("finetune.described, epoch 2 of 2", "4", "8"),
    ]
    assert all(EPOCH.match(line) for line in EPOCH_LINES)
    assert not any(EPOCH.match(line) for line in lines)


def test_artifacts_follow_the_lines(server: None, lines: list[str]) -> None:
    from prefect import flow, task
    from prefect.client.orchestration import get_client

    from tasks.progress_artifacts import StageProgress

    @task
    def stage() -> list[float]:
        own = StageProgress("finetune@described")
        seen = []
        for line in (*EPOCH_LINES, *lines[-3:], "error: nothing of the kind"):
            own.follow(line)
            seen.append(own.percent)
        return seen

    @flow
    def rebuild() -> list[float]:
        return stage()

    assert rebuild() == pytest.approx([0, 50, 62.5, 75, 75, 75])
    with get_client(sync_client=True) as client:
        artifacts = {item["key"]: item["data"] for item in client._client.post("/artifacts/latest/filter", json={}).json()}
    assert artifacts["progress-finetune-described"] == 75
    table = re.sub(" +", " ", artifacts["training-described"]).splitlines()
    assert table[0] == "| epoch | map | p_at_1 | spread | loss | active |"
    assert table[3] == "| 1 | 0.7000 | 0.8000 | 0.9000 | 0.3000 | 0.2000 |"


def test_keys_are_what_prefect_takes() -> None:
    from tasks.progress_artifacts import key_of

    assert key_of("progress", "extract@My_Set.1") == "progress-extract-my-set-1"
