"""Walking a plan: every stage once those it reads are done, independent ones side by side, what depends on a failure left out."""

import queue
from collections.abc import Callable
from graphlib import TopologicalSorter

from tasks.planning import Plan, PlannedStage, Verdict
from tasks.stage_graph import GUARD
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

    def run(self) -> list[StageResult]:
        """Results in the plan's order."""
        planned = {each.stage.name: each for each in self.plan.stages}
        order = TopologicalSorter({name: each.stage.upstream for name, each in planned.items()})
        order.prepare()
        reports: queue.SimpleQueue[StageResult] = queue.SimpleQueue()
        ready: list[PlannedStage] = []
        running = 0
        while order.is_active():
            ready += [planned[name] for name in order.get_ready()]
            settled = [result for each in ready if (result := self._without_process(each))]
            for result in settled:
                self._settle(result)
            if not settled:
                ready.sort(key=_longest_first)
                while ready and running < self.parallel:
                    self._start(ready.pop(0), reports.put)
                    running += 1
                settled = [reports.get()]
                running -= 1
            self._results |= {result.stage.name: result for result in settled}
            ready = [each for each in ready if each.stage.name not in self._results]
            order.done(*(result.stage.name for result in settled))
        return [self._results[name] for name in planned]

    def _without_process(self, planned: PlannedStage) -> StageResult | None:
        """The result of a stage that nothing is to be run for."""
        upstream = [self._results[name] for name in planned.stage.upstream]
        lost = [result.stage.name for result in upstream if not result.state.good]
        if lost:
            return StageResult(planned.stage, StageState.BLOCKED, reason=f"needs {', '.join(lost)}")
        unchanged = all(result.state is StageState.UP_TO_DATE for result in upstream if result.stage.name != GUARD)
        if planned.verdict is Verdict.UP_TO_DATE or (planned.verdict is Verdict.MAY_RUN and unchanged and planned.only_upstream):
            return StageResult(planned.stage, StageState.UP_TO_DATE)
        failed = [result.stage.name for result in self._results.values() if result.state is StageState.FAILED]
        if failed and not self.keep_going:
            return StageResult(planned.stage, StageState.BLOCKED, reason=f"stopped after {failed[0]} failed")
        return None


def _longest_first(planned: PlannedStage) -> float:
    return -planned.last.seconds if planned.last else 0.0
