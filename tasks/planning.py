"""What a rebuild would do and why: every stage will run, may run, can be restored, or is up to date."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from pipeline.stage.run_record import RunRecord
from tasks.records import latest
from tasks.stage_graph import GUARD, Change, Stage, StageGraph, open_graph


class Verdict(StrEnum):
    """What will happen to a stage."""

    WILL_RUN = "will run"
    MAY_RUN = "may run"
    RESTORABLE = "can be restored"
    UP_TO_DATE = "up to date"


@dataclass(frozen=True)
class PlannedStage:
    """A stage, what will happen to it, and why.

    Attributes:
        last: what its last run cost, where that is known.
        only_upstream: nothing but its upstream stages can make it run.
    """

    stage: Stage
    verdict: Verdict
    reasons: tuple[str, ...]
    last: RunRecord | None = None
    only_upstream: bool = False


@dataclass(frozen=True)
class Plan:
    """The chosen stages, every one after those it depends on."""

    stages: tuple[PlannedStage, ...]

    @property
    def up_to_date(self) -> bool:
        return all(planned.verdict is Verdict.UP_TO_DATE for planned in self.stages)

    def count(self, verdict: Verdict) -> int:
        return sum(planned.verdict is verdict for planned in self.stages)

    @property
    def expectation(self) -> str:
        """One line: how many stages will do what, and how long those that will run took last time."""
        seconds = sum(planned.last.seconds for planned in self.stages if planned.verdict is Verdict.WILL_RUN and planned.last)
        parts = ", ".join(f"{self.count(verdict)} {verdict}" for verdict in Verdict if self.count(verdict))
        return f"{len(self.stages)} stages: {parts}" + (f"; those that will run took {seconds:.0f} s last time." if seconds else ".")


def make_plan(root: Path, targets: list[str] | None = None, *, force: bool = False) -> Plan:
    """Read graph and changes once from DVC and decide.

    Raises:
        ParameterError: a target that is no stage, or a graph that cannot be read.
    """
    with open_graph(root) as graph:
        chosen = graph.targets(targets or [])
        planned = _decide(graph, [stage for stage in graph.stages if stage.name in chosen], force)
    return Plan(tuple(replace(each, last=latest(root, each.stage)) for each in planned))


def _decide(graph: StageGraph, stages: list[Stage], force: bool) -> list[PlannedStage]:
    verdicts: dict[str, Verdict] = {}
    restored: dict[str, str] = {}
    decided = []
    for stage in stages:
        changes = [change for change in graph.changes(stage.name) if not _guards(change, graph, verdicts)]
        own = [change for change in changes if not _explained(change, stage, graph, verdicts)]
        upstream = {verdicts[name] for name in stage.upstream if name != GUARD}
        if force:
            verdict, reasons = Verdict.WILL_RUN, ["forced"]
        elif upstream & {Verdict.WILL_RUN, Verdict.MAY_RUN}:
            verdict, reasons = (Verdict.WILL_RUN, [str(change) for change in own]) if own else (Verdict.MAY_RUN, [_after(stage, verdicts)])
        elif changes or Verdict.RESTORABLE in upstream:
            verdict, reasons = _kept(graph, stage, changes, own, restored)
        else:
            verdict, reasons = Verdict.UP_TO_DATE, []
        verdicts[stage.name] = verdict
        decided.append(PlannedStage(stage, verdict, tuple(reasons), only_upstream=not changes and not force))
    return decided


def _kept(graph: StageGraph, stage: Stage, changes: list[Change], own: list[Change], restored: dict[str, str]) -> tuple[Verdict, list[str]]:
    """The verdict on a stage whose inputs are known beforehand: restorable where DVC kept the outputs of a run with them."""
    reasons = [str(change) for change in own or changes] or ["its inputs are restored"]
    outputs = graph.restored(stage.name, restored)
    if outputs is None:
        return (Verdict.WILL_RUN if own else Verdict.MAY_RUN), reasons
    restored |= outputs
    return Verdict.RESTORABLE, reasons


def _explained(change: Change, stage: Stage, graph: StageGraph, verdicts: dict[str, Verdict]) -> bool:
    """True for a changed input that another stage is about to make anew: the other stage is the reason."""
    if change.kind != "dependency":
        return False
    made = [
        path for other in graph.stages if other.name in stage.upstream and verdicts[other.name] is not Verdict.UP_TO_DATE for path in other.outputs
    ]
    return any(_overlap(path, change.path) for path in made)


def _guards(change: Change, graph: StageGraph, verdicts: dict[str, Verdict]) -> bool:
    """True for the guard's output where it is missing and about to be made: the same bytes come back."""
    made = [path for stage in graph.stages if stage.name == GUARD and verdicts.get(GUARD) is not Verdict.UP_TO_DATE for path in stage.outputs]
    return change.kind == "dependency" and change.path in made


def _overlap(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


def _after(stage: Stage, verdicts: dict[str, Verdict]) -> str:
    running = [name for name in stage.upstream if name != GUARD and verdicts[name] in (Verdict.WILL_RUN, Verdict.MAY_RUN)]
    return f"{', '.join(running)} may change its inputs"
