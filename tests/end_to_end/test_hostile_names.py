"""Names and values of params.yaml that a shell or a path would take for something else, given to plain `dvc repro` and to `retrieval repro`."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import warm_python
from tests.end_to_end.project import Project

HOSTILE = (
    "a;touch touched",
    "$(touch touched)",
    "`touch touched`",
    "a|touch touched",
    "a&touch touched",
    "a\ntouch touched",
    "';touch touched;'",
    '";touch touched;"',
    "a>touched",
    "-m",
    "a b",
    "a.b",
    "größe",
)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("hostile") / "project", flows=True)
    project.commit_all("The project")
    (project.folder / "kept").mkdir()
    (project.folder / "kept/file").touch()
    return project


@pytest.fixture
def project(copied: Project) -> Iterator[Project]:
    """The project, whose parameters are as before after each test."""
    before = copied.params
    yield copied
    copied.write_params(before)


def ran(project: Project, *command: str) -> subprocess.CompletedProcess[str]:
    program = warm_python.for_dvc() if command[0] == "dvc" else warm_python.for_stages()
    environment = project.environment | {"RETRIEVAL_PYTHON": warm_python.for_stages()}
    return subprocess.run([program, "-m", *command], cwd=project.folder, env=environment, capture_output=True, text=True, check=False)


def parameters_with(names: tuple[str, ...], project: Project) -> dict[str, Any]:
    """Data sets and benchmarks of these names, every value of which is hostile, too."""
    content = project.params
    content["datasets"] = {name: {"source": "none"} for name in names} | {"none": {"source": "none"}}
    content["benchmarks"] = {name: {"dataset": name, "held_out": name, "distractors": name, "allow_self_learning": name} for name in names}
    content["network"]["name"] = names[0]
    return content


def test_no_name_runs_a_command_or_removes_a_file(project: Project) -> None:
    content = parameters_with(HOSTILE, project)
    content["networks"]["../../kept"] = content["networks"]["efficientnet_lite0"]  # DVC removes a stage's outputs before it runs
    project.write_params(content)
    plain, flow = ran(project, "dvc", "repro"), ran(project, "cli", "repro")
    assert "cannot be a name" in plain.stderr
    assert "cannot be a name" in flow.stderr
    assert plain.returncode
    assert flow.returncode
    assert not list(project.folder.rglob("*touched*"))
    assert (project.folder / "kept/file").exists()
    assert not (project.folder / "data").exists()


@pytest.mark.parametrize("name", HOSTILE[:5])
def test_no_name_runs_a_command_where_the_first_stage_is_passed_over(project: Project, name: str) -> None:
    project.write_params(parameters_with((name,), project))
    (project.folder / "data").mkdir(exist_ok=True)
    (project.folder / "data/names.json").write_text("{}", encoding="utf-8")
    try:
        ran(project, "dvc", "repro", "--single-item", f"download@{name}")
    finally:
        shutil.rmtree(project.folder / "data")
    assert not list(project.folder.rglob("*touched*"))


def test_a_name_that_is_a_number_is_to_be_quoted(project: Project) -> None:
    content = project.params
    content["datasets"][2024] = content["datasets"]["gallery"]
    project.write_params(content)
    assert "datasets: 2024 is no text; quote it: '2024'" in ran(project, "cli", "check").stderr
    assert ran(project, "dvc", "repro", "names").returncode


def test_the_file_that_all_depend_on_never_changes(project: Project) -> None:
    project.dvc("repro", "names")
    first = Path(project.folder, "data/names.json").read_bytes()
    project.change("datasets.other", {"source": "none"})
    assert "Running stage 'names'" in project.dvc("repro", "names")
    assert Path(project.folder, "data/names.json").read_bytes() == first


def test_a_checkout_that_has_seen_a_data_set_before_has_its_record(project: Project) -> None:
    """As the temporary checkouts of experiments, which share a cache: what is not in Git is there only where a stage writes it."""
    project.change("datasets.seen", {"source": "none"})
    record, names = project.folder / "data/sources/seen.json", project.folder / "data/names.json"
    for _ in range(2):
        for left in (record, names, project.folder / "dvc.lock"):
            left.unlink(missing_ok=True)
        project.dvc("repro", "--single-item", "names")
        assert record.exists()
