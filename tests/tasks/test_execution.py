"""Carrying out a plan: what goes wrong before or between the stages is told, and never waits for ever."""

import pytest

from pipeline.stage.errors import ParameterError
from tasks.execution import Execution, StageFeed
from tasks.settings import flow_settings
from tasks.stages import StageResult, StageState
from tasks.walk import Walk
from tests.tasks.script_project import ScriptProject


def test_events_tell_of_every_stage_and_lines_come_from_each(project: ScriptProject) -> None:
    execution = Execution(project.folder, ["left"])
    execution.begin()
    events = list(execution.events())
    assert [type(event) for event in events] == [StageFeed]
    assert isinstance(events[0], StageFeed)
    assert any("Running stage 'left'" in line for line in events[0].lines())
    assert [result.state for result in execution.results] == [StageState.COMPLETED]
    execution.stop()


def test_wrong_settings_are_refused_before_anything_runs(project: ScriptProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRIEVAL_PARALLEL", "many")
    flow_settings.cache_clear()
    try:
        with pytest.raises(ParameterError, match=r"RETRIEVAL_PARALLEL: .*got 'many'"):
            Execution(project.folder, [])
    finally:
        flow_settings.cache_clear()


def test_an_error_of_the_walk_itself_is_raised_where_the_events_are_read(project: ScriptProject, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Walk) -> list[StageResult]:
        raise ValueError("broken")

    monkeypatch.setattr(Walk, "run", fail)
    execution = Execution(project.folder, [])
    execution.begin()
    with pytest.raises(ValueError, match="broken"):
        list(execution.events())
    execution.stop()
