"""Files by way of object storage, on a disk and on a server of S3: once by their bytes, whole or refused, with receipts and beginnings."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow.fs import FileSelector, FileSystem, FileType

from pipeline.contracts.executors.executing import Place, Receipt, run_tasks, untold
from pipeline.contracts.executors.object_storage import ObjectStorage, Sent, whole
from pipeline.contracts.executors.sites import ByStorage, earlier, shared_with
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.contracts.running.settings import settings
from pipeline.stage.errors import ParameterError, ShardError, UnreachableError
from tests.contracts.s3_server import S3Server
from tests.contracts.squaring import Square, Squaring

LARGE = bytes(range(256)) * 2**16
"""More than one request of S3 takes at least."""
DONE = Receipt(files=["a.parquet"], images=3, fresh=2, facts={"known": 1}, task="part-00001", seconds=0.5)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server("museum") as running:
        yield running


@pytest.fixture(params=["disk", "s3"])
def storage(request: pytest.FixtureRequest, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStorage:
    if request.param == "disk":
        return ObjectStorage((workplace / "storage").as_uri())
    server: S3Server = request.getfixturevalue("server")
    for name, value in server.credentials.items():
        monkeypatch.setenv(name, value)
    return ObjectStorage(server.address(workplace.name))


@pytest.mark.parametrize("data", [b"", b"few", LARGE], ids=len)
def test_a_file_comes_out_as_it_went_in(storage: ObjectStorage, workplace: Path, data: bytes) -> None:
    (workplace / "own").write_bytes(data)
    sent = storage.put(workplace / "own", "data/own")
    assert sent.path == "data/own"
    storage.take(sent, workplace / "taken/own")
    assert (workplace / "taken/own").read_bytes() == data
    assert [path.name for path in (workplace / "taken").iterdir()] == ["own"]


@pytest.mark.slow
def test_what_is_there_is_not_sent_again_and_what_was_cut_off_is(storage: ObjectStorage, workplace: Path) -> None:
    (workplace / "first").write_bytes(LARGE)
    (workplace / "second").write_bytes(LARGE)
    first, second = storage.put_all([(workplace / "first", "a"), (workplace / "second", "b")])
    assert first.digest == second.digest
    files, root = FileSystem.from_uri(storage.address)
    objects = [found for found in files.get_file_info(FileSelector(f"{root}/files")) if found.type == FileType.File]
    assert [found.base_name for found in objects] == [first.digest]
    with files.open_output_stream(objects[0].path) as stream:
        stream.write(b"cut off")
    with pytest.raises(ShardError, match=f"files/{first.digest} holds other bytes than those that were sent"):
        storage.take(first, workplace / "taken")
    assert not (workplace / "taken").exists()
    storage.put(workplace / "first", "a")
    storage.take(first, workplace / "taken")
    assert (workplace / "taken").read_bytes() == LARGE


def test_a_file_that_is_here_is_taken_only_where_it_differs(storage: ObjectStorage, workplace: Path) -> None:
    (workplace / "own").write_bytes(b"new")
    sent = storage.put(workplace / "own", "own")
    (workplace / "taken").write_bytes(b"old")
    storage.take(sent, workplace / "taken")
    assert (workplace / "taken").read_bytes() == b"new"
    before = (workplace / "taken").stat().st_ino
    storage.take(sent, workplace / "taken")
    assert (workplace / "taken").stat().st_ino == before


def test_receipts_and_beginnings_of_one_stage_are_its_own(storage: ObjectStorage) -> None:
    files = [Sent("a.parquet", "0123")]
    storage.put_receipt("extract-x/f", DONE, files)
    storage.put_receipt("extract-x/other", DONE, [])
    for _ in range(2):
        storage.begin("extract-x/f", "part-00002")
    storage.begin("extract-x/f", "part-00003")
    assert list(storage.receipts("extract-x/f")) == [(DONE, files)]
    assert [storage.begun("extract-x/f", f"part-0000{number}") for number in (1, 2, 3)] == [0, 2, 1]
    storage.ended("extract-x/f", "part-00002")
    assert [storage.begun("extract-x/f", f"part-0000{number}") for number in (2, 3)] == [0, 1]
    storage.clean_up("extract-x/f")
    assert list(storage.receipts("extract-x/f")) == []
    assert storage.begun("extract-x/f", "part-00003") == 0
    assert list(storage.receipts("extract-x/other")) == [(DONE, [])]


@pytest.mark.parametrize("address", ["nowhere://x", "work", "s3://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ParameterError, match=f"RETRIEVAL_RAY_STORAGE={address}: .*; right would be s3://BUCKET/FOLDER"):
        ObjectStorage(address).begun("extract-x/f", "part")


def test_a_secret_in_an_address_is_refused_and_not_printed() -> None:
    with pytest.raises(ParameterError, match="leave these to the environment") as refused:
        ObjectStorage("s3://name:secret@museum/x").begun("extract-x/f", "part")
    assert "name:secret" not in str(refused.value)


@pytest.mark.slow
def test_a_storage_that_does_not_answer_can_be_tried_again(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in S3Server.credentials.items():
        monkeypatch.setenv(name, value)
    (workplace / "own").write_bytes(b"x")
    with pytest.raises(UnreachableError, match="RETRIEVAL_RAY_STORAGE=s3://museum"):
        ObjectStorage("s3://museum/x?endpoint_override=127.0.0.1:9&scheme=http").put(workplace / "own", "own")


def test_folders_are_sent_with_all_that_is_in_them(workplace: Path) -> None:
    for name in ("folder/b", "folder/deep/a", "own"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert whole([Path("own"), Path("folder"), Path("own")]) == [Path("own"), Path("folder/b"), Path("folder/deep/a")]


def test_what_lies_outside_the_project_is_refused_by_name(workplace: Path) -> None:
    class Elsewhere(Squaring):
        def reads(self, _folder: Path) -> tuple[Path, ...]:
            return (Path(__file__),)

    with pytest.raises(ParameterError, match=r"test_object_storage\.py lies outside the project's folder"):
        shared_with(Elsewhere(Path("log")), Path(".scratch/square/f"), (workplace / "storage").as_uri())


def test_what_workers_finished_before_the_stage_died_is_taken_without_a_cluster(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the extra `cluster`")
    address, store = (workplace / "storage").as_uri(), ScratchStore("square-x", "f")
    tasks, work = [Square(number) for number in (3, 4)], Squaring(workplace / "log")
    site = shared_with(work, store.folder, address)
    assert isinstance(site, ByStorage)
    worker = workplace / "worker"
    worker.mkdir()
    monkeypatch.chdir(worker)
    own = work.open(Place(site.arrive(), "cpu", 1, untold))
    *_, (_, (lost,)) = [site.finish(own, task, []) for task in [*tasks, Square(5)]]
    (workplace / "storage/files" / lost.digest).unlink()
    monkeypatch.chdir(workplace)
    for name, value in {"EXECUTOR": "ray", "RAY_STORAGE": address}.items():
        monkeypatch.setenv(f"RETRIEVAL_{name}", value)
    settings.cache_clear()
    assert [receipt.task for receipt in earlier(site, [*tasks, Square(5)], workplace / "elsewhere")] == ["part-00003", "part-00004"]
    with Progress("square", 7, "images") as progress:
        receipts = run_tasks(work, tasks, store, progress)
    assert [(receipt.task, receipt.earlier) for receipt in receipts] == [("part-00003", True), ("part-00004", True)]
    assert [store.path(f"{task.name}.txt").read_text() for task in tasks] == ["9", "16"]
    assert progress.skipped == 7
    assert list(site.storage.receipts(site.work)) == []
