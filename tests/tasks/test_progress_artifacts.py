"""Live progress in Prefect is read off a stage's own lines: how they are read; tests/end_to_end shows it on a server."""

import logging

import pytest

from pipeline.contracts.running import progress
from pipeline.contracts.running.progress import EPOCH, LINE, Progress

EPOCH_LINES = (
    "finetune.described: epoch 0 of 2: map 0.5000, p_at_1 0.6000, spread 0.9000.",
    "finetune.described: epoch 1 of 2: loss 0.3000, active 0.2000, map 0.7000, p_at_1 0.8000, spread 0.9000.",
)


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


def test_keys_are_what_prefect_takes() -> None:
    from tasks.progress_artifacts import key_of

    assert key_of("progress", "extract@My_Set.1") == "progress-extract-my-set-1"
