"""Projects of real DVC stages."""

import shutil
from pathlib import Path

import pytest

from tests.tasks.script_project import ScriptProject


@pytest.fixture
def project(tmp_path: Path) -> ScriptProject:
    """A project that has not run."""
    return ScriptProject(tmp_path / "project")


@pytest.fixture(scope="session")
def first_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project after `dvc repro`, to be copied."""
    project = ScriptProject(tmp_path_factory.mktemp("first-build") / "project")
    project.dvc("repro")
    project.runs()
    return project.folder


@pytest.fixture
def built(project: ScriptProject, first_build: Path) -> ScriptProject:
    """A project after `dvc repro`."""
    for name in ("data", ".dvc/cache"):
        shutil.copytree(first_build / name, project.folder / name)
    shutil.copy(first_build / "dvc.lock", project.folder)
    return project
