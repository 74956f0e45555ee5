"""Stages whose workers share object storage alone: the bytes of work on one machine, and a Ray cluster that talks to a server of S3."""

import hashlib
from pathlib import Path

import pytest

from pipeline.aggregation import aggregate, distractors
from pipeline.hashing import __main__ as hashing
from pipeline.imaging import __main__ as imaging
from tests.contracts.away import work_away
from tests.contracts.s3_server import S3Server
from tests.end_to_end.project import Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The museum with distractors and codes."""
    folder = tmp_path_factory.mktemp("storage")
    project = Project(folder / "project", origin=museum)
    project.change("hash.method", "itq")
    project.change("hash.itq.bits", 8)
    project.mix_in_copies(folder / "copies")
    project.make("learn@gallery", "aggregate@gallery", "aggregate_distractors@gallery", "hash@gallery")
    return project


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_a_worker_needs_nothing_but_what_its_stage_sends(made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.folder)
    stages = {"images": imaging, "descriptors": aggregate, "distractors": distractors, "codes": hashing}
    done = work_away(monkeypatch, tmp_path)
    for name, stage in stages.items():
        output, begun = Path("data", name, "gallery"), len(done)
        expected = digests(output)
        stage.main(["gallery"])
        assert len(done) > begun, name
        assert digests(output) == expected, name


def test_a_ray_cluster_takes_and_leaves_files_by_s3(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the extra `cluster`")
    output = made.folder / "data/features/gallery"
    expected = digests(output)
    with S3Server("museum") as server:
        variables = {"RETRIEVAL_EXECUTOR": "ray", "RETRIEVAL_RAY_ACTORS": "1", "RETRIEVAL_RAY_STORAGE": server.address("work"), **server.credentials}
        process = made.stage("extract@gallery", RETRIEVAL_STORE_GIB="0", **variables)
        told, _ = process.communicate()
        assert process.returncode == 0, told
        assert "1 tasks on a Ray cluster" in told
        assert digests(output) == expected
        left = [key for key in server.objects() if not key.endswith("/")]
    assert all(key.startswith("work/files/") for key in left)
    sent = {key.removeprefix("work/files/") for key in left}
    assert {digest for name, digest in expected.items() if name.startswith("part-")} <= sent
