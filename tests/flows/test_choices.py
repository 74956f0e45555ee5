"""What a flow's parameters offer on the server's page."""

from pathlib import Path

import pytest
from prefect.utilities.callables import parameter_schema

from flows.choices import grid_choices, stage_choices
from flows.sweep import sweep
from tests.conftest import PROJECT


def test_stages_are_offered_by_kind_and_by_name() -> None:
    found = stage_choices(PROJECT)
    assert found[:3] == ["names", "download", "download@none"]
    assert {"extract@gallery", "evaluate", "evaluate@gallery", "report"} <= set(found)
    assert "mask_study" not in found
    assert not [name for name in found if name.startswith("masks@")], "nobody asks for it"


def test_grids_are_offered_and_what_they_share_is_not() -> None:
    found = grid_choices(PROJECT)
    assert "experiments/poolings.yaml" in found
    assert not [name for name in found if "_base" in name]
    offered = parameter_schema(sweep.fn).properties["file"].get("enum")
    assert offered is None or "experiments/poolings.yaml" in offered


@pytest.mark.parametrize("text", ["", "stages: [", "stages: {a: {foreach: ${datasets}}}"])
def test_a_graph_that_cannot_be_read_offers_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.yaml").write_text(text, encoding="utf-8")
    assert stage_choices(tmp_path) == []
    assert stage_choices(tmp_path / "nowhere") == []
    assert grid_choices(tmp_path) == []
