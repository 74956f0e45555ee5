"""Walking a plan: every stage once those it reads are done, independent ones side by side, what depends on a failure left out."""

import queue
from collections.abc import Callable

from tasks.planning import Plan, PlannedStage, Verdict
from tasks.stages import StageResult, StageState

Report = Callable[[StageResult], None]


class Walk:
    """One walk; `run` settles every stage.

    Args:
        start: begins a stage without waiting and calls its second argument with the result, from any thread.
        settle: told of the stages that need no process: up to date, or blocked.
        parallel: how many stages run at once.
        keep_going: after a failure, run what does not depend on it.
    """

    def __init__(
        self,
        plan: Plan,
        start: Callable[[PlannedStage, Report], None],
        settle: Report,
        *,
        parallel: int,
        keep_going: bool = True,
    ) -> None:
        self.plan, self.parallel, self.keep_going = plan, parallel, keep_going
        self._start, self._settle = start, settle
        self._results: dict[str, StageResult] = {}
        self._waiting = list(plan.stages)

    def run(self) -> list[StageResult]:
        """Results in the plan's order."""
        reports: queue.SimpleQueue[StageResult] = queue.SimpleQueue()
        running = 0
        while self._waiting or running:
            self._settle_all()
            for planned in sorted(self._ready(), key=_longest_first)[: self.parallel - running]:
                self._waiting.remove(planned)
                running += 1
                self._start(planned, reports.put)
            if running:
                result = reports.get()
                running -= 1
                self._results[result.stage.name] = result
        return [self._results[planned.stage.name] for planned in self.plan.stages]

    def _ready(self) -> list[PlannedStage]:
        """Waiting stages whose inputs are all there; in the plan's order, so that a settled one makes its followers ready."""
        return [planned for planned in self._waiting if self._results.keys() >= set(planned.stage.upstream)]

    def _settle_all(self) -> None:
        while settled := [(planned, result) for planned in self._ready() if (result := self._without_process(planned))]:
            for planned, result in settled:
                self._waiting.remove(planned)
                self._results[planned.stage.name] = result
                self._settle(result)

    def _without_process(self, planned: PlannedStage) -> StageResult | None:
        """The result of a stage that nothing is to be run for."""
        upstream = [self._results[name] for name in planned.stage.upstream]
        lost = [result.stage.name for result in upstream if not result.state.good]
        if lost:
            return StageResult(planned.stage, StageState.BLOCKED, reason=f"needs {', '.join(lost)}")
        unchanged = all(result.state is StageState.UP_TO_DATE for result in upstream)
        if planned.verdict is Verdict.UP_TO_DATE or (planned.verdict is Verdict.MAY_RUN and unchanged and planned.only_upstream):
            return StageResult(planned.stage, StageState.UP_TO_DATE)
        failed = [result.stage.name for result in self._results.values() if result.state is StageState.FAILED]
        if failed and not self.keep_going:
            return StageResult(planned.stage, StageState.BLOCKED, reason=f"stopped after {failed[0]} failed")
        return None


def _longest_first(planned: PlannedStage) -> float:
    return -planned.last.seconds if planned.last else 0.0
