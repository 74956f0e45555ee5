"""Folders of photographs that a grid alone names: cells see what they hold now, and the checkout is as before."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.stage.errors import PipelineError
from tasks.experiments import find_experiment, run_experiment
from tasks.grid_sources import folder_records, laid_out, state_with
from tasks.processes import Processes
from tests.conftest import PROJECT
from tests.pictures import encoded
from tests.tasks.script_project import ScriptProject, git

SECTIONS = {"datasets": {"mine": {"source": "folder", "path": "mine"}, "absent": {"source": "folder", "path": "nowhere"}, "none": {"source": "none"}}}


@pytest.fixture
def museum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs, in the folder that RETRIEVAL_DATA names."""
    monkeypatch.setenv("RETRIEVAL_DATA", str(tmp_path))
    monkeypatch.setenv("RETRIEVAL_SCRATCH", str(tmp_path / "scratch"))
    for seed in range(2):
        (tmp_path / "mine" / f"piece{seed}").mkdir(parents=True)
        (tmp_path / "mine" / f"piece{seed}" / "view.png").write_bytes(encoded(seed))
    return tmp_path / "mine"


def recorded(sections: dict[str, Any] = SECTIONS) -> dict[str, bytes]:
    return folder_records(PROJECT, sections)


def test_folders_of_params_yaml_have_their_last_scan(museum: Path, workplace: Path) -> None:
    (workplace / "params.yaml").write_text(json.dumps({"datasets": {"own": {"source": "folder", "path": "own"}, "none": {"source": "none"}}}))
    (workplace / "data/sources").mkdir(parents=True)
    for name in ("own", "none", "left_by_a_killed_sweep"):
        (workplace / f"data/sources/{name}.json").write_text("{}", encoding="utf-8")
    assert list(folder_records(workplace, {})) == ["own"]
    assert list(folder_records(workplace, SECTIONS)) == ["own", "mine"]


def test_cells_run_again_once_the_photographs_change(museum: Path) -> None:
    before = recorded()
    assert list(before) == ["mine"], "a folder that is not there has no record, nor has another source"
    assert json.loads(before["mine"])["files"] == 2
    assert recorded() == before
    assert state_with("abc", {}) == "abc"
    (museum / "piece0/view.png").write_bytes(encoded(5))
    after = recorded()
    assert len({state_with("abc", before), state_with("abc", after), state_with("", after), "abc"}) == 4


def test_a_folder_that_cannot_be_looked_at_ends_the_sweep_before_any_cell(museum: Path) -> None:
    missing = {"datasets": {"mine": {"source": "folder", "path": "mine", "catalogue": "list.csv"}}}
    with pytest.raises(PipelineError, match=r"list\.csv"):
        recorded(missing)


def test_experiments_have_the_records_and_the_checkout_is_as_before(built: ScriptProject) -> None:
    """Real DVC: a stage that depends on a record which Git does not know."""
    with (built.folder / "dvc.yaml").open("a", encoding="utf-8") as file:
        file.write("  held:\n    cmd: mkdir -p out && cp data/sources/mine.json out/held\n    deps: [data/sources/mine.json]\n    outs: [out/held]\n")
    (built.folder / ".gitignore").write_text("/data/*\n!/data/sources/\n/out/\n/runs.log\n__pycache__/\n", encoding="utf-8")
    (built.folder / "data/sources").mkdir(parents=True)
    known = built.folder / "data/sources/known.json"
    known.write_text("before", encoding="utf-8")
    git(built.folder, "add", ".")
    git(built.folder, "commit", "-qm", "Start")
    with laid_out(built.folder, {"mine": b"now", "known": b"now"}) as paths:
        assert paths == ["data/sources/mine.json", "data/sources/known.json"]
        assert known.read_bytes() == b"now"
        done = run_experiment(Processes(built.folder), "cell", ["alone=5"], ["held"], lambda line: None, paths)
    assert done.status == 0, done.lines
    seen = git(built.folder, "show", f"{find_experiment(built.folder, 'cell')}:dvc.lock")
    assert hashlib.md5(b"now", usedforsecurity=False).hexdigest() in seen
    assert known.read_bytes() == b"before"
    assert not (built.folder / "data/sources/mine.json").exists()
    assert git(built.folder, "status", "--short", "data") == ""
