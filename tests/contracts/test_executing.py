"""Executors: each task once, a receipt for each, finished ones left as they are, and the same files from every executor."""

from pathlib import Path

import pytest

from pipeline.contracts.executors import executing
from pipeline.contracts.executors.executing import Receipt, earlier_receipt, fresh_images, run_tasks
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.contracts.running.settings import settings
from pipeline.stage.errors import ImageError, ParameterError
from tests.contracts.squaring import Square, Squaring

TASKS = [Square(number) for number in range(6)]


def run(work: Squaring, store: ScratchStore) -> tuple[list[Receipt], Progress]:
    with Progress("square", sum(task.images for task in TASKS), "images") as progress:
        return run_tasks(work, TASKS, store, progress), progress


def files(store: ScratchStore) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(store.folder.glob("*.txt"))}


def begun(work: Squaring) -> list[int]:
    return sorted(int(line.split()[0]) for line in work.log.read_text().splitlines())


def use(monkeypatch: pytest.MonkeyPatch, **chosen: str) -> None:
    for name, value in chosen.items():
        monkeypatch.setenv(f"RETRIEVAL_{name.upper()}", value)
    settings.cache_clear()


@pytest.mark.parametrize("executor", ["inline", "devices"])
def test_every_task_is_done_once_and_has_its_receipt(workplace: Path, monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    use(monkeypatch, executor=executor)
    work, store = Squaring(workplace / "log"), ScratchStore("square-x", "f")
    receipts, progress = run(work, store)
    assert [(receipt.task, receipt.files, receipt.facts["square"]) for receipt in receipts] == [
        (task.name, [f"{task.name}.txt"], task.number**2) for task in TASKS
    ]
    assert (fresh_images(receipts), progress.done, progress.skipped) == (15, 15, 0)
    assert begun(work) == list(range(6))
    again, progress = run(work, store)
    assert [receipt.facts for receipt in again] == [receipt.facts for receipt in receipts]
    assert (fresh_images(again), progress.done, progress.skipped) == (0, 15, 15)
    assert begun(work) == list(range(6)), "finished tasks are left as they are"


def test_what_a_worker_refuses_stops_the_stage_and_the_rest_stays(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, executor="inline")
    store = ScratchStore("square-x", "f")
    with pytest.raises(ImageError, match="image 3 is broken"):
        run(Squaring(workplace / "log", refused=3), store)
    assert list(files(store)) == ["part-00000.txt", "part-00001.txt", "part-00002.txt"]
    fixed = Squaring(workplace / "log2")
    run(fixed, store)
    assert begun(fixed) == [3, 4, 5]


def test_an_executor_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRIEVAL_EXECUTOR", "cloud")
    settings.cache_clear()
    with pytest.raises(ParameterError, match=r"RETRIEVAL_EXECUTOR.*'inline', 'devices' or 'ray'"):
        settings()
    assert set(executing.EXECUTORS) == {"inline", "devices", "ray"}


def test_object_storage_without_ray_is_said_to_be_unused(workplace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    use(monkeypatch, executor="inline", ray_storage="s3://museum/work")
    run(Squaring(workplace / "log"), ScratchStore("square-x", "f"))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "RETRIEVAL_RAY_STORAGE is not used by RETRIEVAL_EXECUTOR=inline; set that to ray."
    ]


@pytest.mark.parametrize("content", [b"", b'{"task": "a"', b"[]", b'{"other": 1}'])
def test_half_of_a_receipt_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.receipt.json").write_bytes(content)
    assert earlier_receipt(tmp_path, "a") is None
