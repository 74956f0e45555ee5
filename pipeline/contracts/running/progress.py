"""Progress of long work: a bar with rate and remaining time on a terminal, a line now and then in a log."""

import logging
import re
import sys
import time
from types import TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 15.0
LINE = re.compile(r"^(?P<what>.+): (?P<done>\d+) of (?P<total>\d+) [^,]+, [\d.]+/s, about ")
"""A line in a log that says how far work has come, for those who watch a stage's lines."""
EPOCH = re.compile(r"^finetune\.(?P<name>\S+): epoch (?P<epoch>\d+) of (?P<epochs>\d+): (?P<numbers>.+)\.$")
"""The line that training ends an epoch with; its numbers are `name value, name value`."""


class Progress:
    """Context manager: `with Progress("extract", total, "images") as progress: progress.advance(8)`."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = self.skipped = 0
        self._bar: Any = None
        self._task: Any = None
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._started = self._last_line = time.monotonic()
        if sys.stderr.isatty():
            self._start_bar()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None:
            earlier = f", {self.skipped} of them from earlier runs" if self.skipped else ""
            log.info("%s: %d %s in %.1f s (%.1f %s/s)%s", self.what, self.done, self.unit, self.seconds, self.rate, self.unit, earlier)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def fresh(self) -> int:
        """Units done in this run: those skipped because they were done before left out."""
        return self.done - self.skipped

    @property
    def rate(self) -> float:
        """Fresh units per second."""
        return self.fresh / max(self.seconds, 1e-9)

    def advance(self, count: int = 1, *, skipped: bool = False) -> None:
        """Count finished units; `skipped` ones were finished by an earlier run and do not enter the rate."""
        self.done += count
        self.skipped += count if skipped else 0
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=f"{self.rate:.1f} {self.unit}/s")
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._tell()

    def _tell(self) -> None:
        if self.done > self.total:
            log.info("%s: %d %s, %.1f/s", self.what, self.done, self.unit, self.rate)
            return
        remaining = (self.total - self.done) / self.rate if self.rate > 0 else float("inf")
        log.info("%s: %d of %d %s, %.1f/s, about %.0f s left", self.what, self.done, self.total, self.unit, self.rate, remaining)

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn(self.what),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(self.what, total=self.total or None, rate="")
        self._bar.start()
