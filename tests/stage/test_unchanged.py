"""A stage whose parameters or code are edited while it runs fails, so that no result is recorded under what it was not made with."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.stage import unchanged
from pipeline.stage.errors import PipelineError

STAGE = """
from pathlib import Path
from pipeline.stage.entry import run_stage
from pipeline.stage.parameters import read_section
from pipeline.stage.run_record import Produced

def main(arguments):
    read_section("extract.scales")
    Path("params.yaml").write_text(arguments[0], encoding="utf-8")
    Path("out").write_text("made with [1.0]", encoding="utf-8")
    return Produced((Path("out"),), 1, "files")

run_stage(main)
"""


def run(after: str) -> subprocess.CompletedProcess[str]:
    """A stage that reads extract.scales, while which somebody writes `after` to params.yaml."""
    Path("params.yaml").write_text("extract: {scales: [1.0], precision: float32}\n", encoding="utf-8")
    return subprocess.run([sys.executable, "-c", STAGE, after], capture_output=True, text=True, check=False)


def test_a_parameter_that_the_stage_read_and_that_changed_fails_it(workplace: Path) -> None:
    done = run("extract: {scales: [0.5], precision: float32}\n")
    assert done.returncode == 1
    assert done.stderr == "error: params.yaml: extract.scales changed while the stage ran, and its result is of the old value; run again\n"
    assert not Path("out.run.json").exists()


def test_a_parameter_that_it_did_not_read_may_change(workplace: Path) -> None:
    done = run("# a comment\nextract: {scales: [1.0], precision: float16}\n")
    assert done.returncode == 0, done.stderr
    assert Path("out.run.json").exists()


def test_code_that_was_imported_and_changed_fails_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = unchanged.code_now()
    monkeypatch.setattr(unchanged, "sections_read", dict)
    unchanged.refuse_changes(before)
    file = next(path for path in before if path.match("stage/entry.py"))
    with pytest.raises(PipelineError, match=r"pipeline/stage/entry\.py changed while the stage ran; run again"):
        unchanged.refuse_changes(before | {file: "0"})
    foreign = next(path for path in before if path.match("comparison/texts.py"))
    monkeypatch.delitem(sys.modules, "pipeline.comparison", raising=False)
    monkeypatch.setattr(sys, "modules", {name: module for name, module in sys.modules.items() if not name.startswith("pipeline.comparison")})
    unchanged.refuse_changes(before | {foreign: "0"})
