"""The small museum, built once by real DVC however many workers the tests have; every module that needs results starts from a copy."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from tests.end_to_end.project import Project, ran_in

BARE = {"LC_ALL": "C", "LANG": "C", "HOME": "/proc/nowhere"}
"""Surroundings of a service: no language, and a home that nothing can be written to."""


@pytest.fixture(scope="session")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The museum after its first `dvc repro`, made where Prefect cannot be imported, in a folder with a blank and an accent; not to be changed."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    folder, ready, site = shared / "das Muséum" / "project", shared / "museum-is-built", shared / "site"
    with FileLock(shared / "museum.lock"):
        if not ready.exists():
            site.mkdir()
            (site / "prefect.py").write_text("raise ImportError('plain DVC needs no Prefect')", encoding="utf-8")
            process = Project(folder).start("repro", env={"PYTHONPATH": str(site)} | BARE)
            output, _ = process.communicate()
            assert process.returncode == 0, output
            ready.write_text("\n".join(sorted(ran_in(output))), encoding="utf-8")
    return project_at(folder)


@pytest.fixture(scope="session")
def first_stages(museum: Project) -> set[str]:
    """The stages that the museum's first `dvc repro` ran."""
    return set((museum.folder.parents[1] / "museum-is-built").read_text(encoding="utf-8").splitlines())


def project_at(folder: Path) -> Project:
    """A project that is there already."""
    project = Project.__new__(Project)
    project.folder = folder
    return project
