"""Lines of progress: how far work is, and no invented total where none is known."""

import logging

import pytest

from pipeline.contracts.running import progress as module
from pipeline.contracts.running.progress import LINE, Progress


@pytest.mark.parametrize(("total", "known"), [(10, True), (0, False), (3, False)])
def test_remaining_time_is_told_where_the_total_is_known(
    total: int, known: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    with caplog.at_level(logging.INFO), Progress("resize", total, "images") as progress:
        progress.advance(5)
    line = caplog.messages[0]
    assert bool(LINE.match(line)) == known
    assert ("left" in line) == known
    assert line.startswith("resize: 5 of 10 images, " if known else "resize: 5 images, ")
