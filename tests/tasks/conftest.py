"""Projects of real DVC stages."""

from pathlib import Path

import pytest

from tests.tasks.script_project import ScriptProject


@pytest.fixture
def project(tmp_path: Path) -> ScriptProject:
    """A project that has not run."""
    return ScriptProject(tmp_path / "project")


@pytest.fixture
def built(project: ScriptProject) -> ScriptProject:
    """A project after `dvc repro`."""
    project.dvc("repro")
    project.runs()
    return project
