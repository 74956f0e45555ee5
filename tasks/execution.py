"""Carrying out a plan: the walk in threads of its own, and what happens as events that a flow shows as they come, or afterwards."""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

from tasks.dvc_processes import DvcProcesses
from tasks.planning import Plan, PlannedStage, make_plan
from tasks.settings import flow_settings
from tasks.stages import StageResult, StageState, reproduce
from tasks.walk import Report, Walk


class StageFeed:
    """A stage that runs: its lines as they come, and its result at their end."""

    def __init__(self, planned: PlannedStage) -> None:
        self.planned = planned
        self.result = StageResult(planned.stage, StageState.FAILED, reason="the run was stopped")
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def log(self, line: str) -> None:
        self._lines.put(line)

    def end(self, result: StageResult) -> None:
        self.result = result
        self._lines.put(None)

    def lines(self) -> Iterator[str]:
        """Lines until the stage has ended."""
        while (line := self._lines.get()) is not None:
            yield line


class Execution:
    """One run of a plan; `begin` starts it, `events` tells of it, `stop` ends every process that is left.

    Attributes:
        results: in the plan's order, once the events have ended.
    """

    def __init__(self, root: Path, targets: list[str], *, force: bool = False, keep_going: bool = True) -> None:
        self.force, self.keep_going = force, keep_going
        self._settings = flow_settings()
        self.processes = DvcProcesses(root)
        self.plan: Plan = make_plan(root, targets, force=force)
        if not self.plan.up_to_date:
            self.processes.start()
        self.results: list[StageResult] = []
        self._error: BaseException | None = None
        self._events: queue.SimpleQueue[StageFeed | StageResult | None] = queue.SimpleQueue()

    def begin(self) -> None:
        """Start the walk without waiting."""
        threading.Thread(target=self._walk, name="walk", daemon=True).start()

    def events(self) -> Iterator[StageFeed | StageResult]:
        """A feed for every stage that starts, a result for every one that needs no process, until all are settled."""
        while (event := self._events.get()) is not None:
            yield event
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End every process that is left."""
        self.processes.stop()

    def _walk(self) -> None:
        parallel = self._settings.stages_at_once
        with ThreadPoolExecutor(parallel, thread_name_prefix="stage") as pool:

            def start(planned: PlannedStage, report: Report) -> None:
                feed = StageFeed(planned)
                self._events.put(feed)
                pool.submit(self._run, feed, report)

            try:
                self.results = Walk(self.plan, start, self._events.put, parallel=parallel, keep_going=self.keep_going).run()
            except BaseException as error:  # told where the events are read
                self._error = error
            finally:
                self._events.put(None)

    def _run(self, feed: StageFeed, report: Report) -> None:
        result = feed.result
        try:
            retries, delay = self._settings.stage_retries, self._settings.stage_retry_delay
            result = reproduce(self.processes, feed.planned, feed.log, force=self.force, retries=retries, delay=delay)
        except Exception as error:  # whatever it is, the stage has failed and says why
            result = StageResult(feed.planned.stage, StageState.FAILED, reason=f"{type(error).__name__}: {error}")
        finally:
            feed.end(result)
            report(result)


BEGUN: ContextVar[Execution | None] = ContextVar("BEGUN", default=None)
"""A run that was begun before its flow, which then shows it: stages need not wait for a server."""
