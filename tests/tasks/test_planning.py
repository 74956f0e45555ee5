"""Plans of a real DVC project: what will run, may run, can be restored, is up to date, and why."""

import shutil

import pytest

from pipeline.stage.errors import ParameterError, PipelineError
from pipeline.stage.parameters import UNSEEN
from tasks.planning import Plan, Verdict, make_plan
from tasks.stage_graph import open_graph
from tests.tasks.script_project import ORDER, ScriptProject

RUN, MAY, KEPT, DONE = Verdict.WILL_RUN, Verdict.MAY_RUN, Verdict.RESTORABLE, Verdict.UP_TO_DATE


def verdicts(plan: Plan) -> dict[str, Verdict]:
    return {planned.stage.name: planned.verdict for planned in plan.stages}


def reasons(plan: Plan, name: str) -> str:
    return "; ".join(next(planned for planned in plan.stages if planned.stage.name == name).reasons)


def test_a_new_project_runs_whole_in_an_order_that_fits(project: ScriptProject) -> None:
    plan = make_plan(project.folder)
    assert verdicts(plan) == dict.fromkeys(ORDER, RUN)
    assert reasons(plan, "left") == "has not run yet"
    names = [planned.stage.name for planned in plan.stages]
    assert names.index("join") > max(names.index("left"), names.index("right"))
    assert plan.expectation == "5 stages: 5 will run."


def test_nothing_is_to_do_after_a_run(built: ScriptProject) -> None:
    plan = make_plan(built.folder)
    assert plan.up_to_date
    assert set(verdicts(plan).values()) == {DONE}


def test_a_parameter_is_named_with_both_values_and_what_follows_may_run(built: ScriptProject) -> None:
    built.set(left=2)
    plan = make_plan(built.folder)
    assert verdicts(plan) == {"left": RUN, "right": DONE, "join": MAY, "tail": MAY, "alone": DONE}
    assert reasons(plan, "left") == "left 1 → 2"
    assert reasons(plan, "join") == "left may change its inputs"


def test_an_earlier_run_can_be_restored_with_all_that_follows(built: ScriptProject) -> None:
    built.set(left=2)
    built.dvc("repro")
    built.set(left=1)
    plan = make_plan(built.folder)
    assert verdicts(plan) == {"left": KEPT, "right": DONE, "join": KEPT, "tail": KEPT, "alone": DONE}
    assert reasons(plan, "left") == "left 2 → 1"
    built.runs()
    assert "is cached" in built.dvc("repro")
    assert built.runs() == []


def test_missing_outputs_are_restored_and_lost_ones_run(built: ScriptProject) -> None:
    (built.folder / "data/join").unlink()
    plan = make_plan(built.folder)
    assert verdicts(plan)["join"] is KEPT
    assert reasons(plan, "join") == "data/join is missing"
    shutil.rmtree(built.folder / ".dvc/cache")
    assert verdicts(make_plan(built.folder))["join"] is RUN


def test_changed_code_names_the_file(built: ScriptProject) -> None:
    with (built.folder / "stage.py").open("a", encoding="utf-8") as stream:
        stream.write("# a remark\n")
    plan = make_plan(built.folder)
    assert set(verdicts(plan).values()) == {RUN}
    assert reasons(plan, "alone") == "stage.py changed"


def test_targets_bring_what_they_need_and_force_runs_all(built: ScriptProject) -> None:
    built.set(left=2, alone=2)
    assert list(verdicts(make_plan(built.folder, ["join"]))) == ["left", "right", "join"]
    plan = make_plan(built.folder, ["alone"], force=True)
    assert verdicts(plan) == {"alone": RUN}
    assert reasons(plan, "alone") == "forced"
    with pytest.raises(ParameterError, match="joint: no such stage; there are: left, right, join, tail, alone"):
        make_plan(built.folder, ["joint"])


def test_what_cannot_be_read_is_one_line(project: ScriptProject) -> None:
    with pytest.raises(PipelineError, match="no DVC project"):
        make_plan(project.folder.parent)
    (project.folder / "dvc.yaml").write_text("stages: {a: {cmd: x, depz: []}}", encoding="utf-8")
    with pytest.raises(ParameterError, match="depz"), open_graph(project.folder):
        pass


def test_the_names_that_dvc_leaves_out_are_those_that_parameters_refuse(project: ScriptProject) -> None:
    """With such a name DVC restores the result of another value: the reason of contracts.parameters.UNSEEN."""
    for name in ("size", "nfiles", "pixels"):
        project.set(left={name: 1})
        project.dvc("repro", "left")
        project.runs()
        project.set(left={name: 2})
        project.dvc("repro", "left")
        assert (project.runs() == []) is (name in UNSEEN), name
