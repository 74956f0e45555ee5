"""An executor for tests: one worker in an empty folder, which has params.yaml and what comes by way of object storage, and nothing else."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.contracts.executors import executing
from pipeline.contracts.executors.executing import Place, Receipt, Task, Work, untold
from pipeline.contracts.executors.sites import fetched, sent_reads, shared_with
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.settings import settings


def work_away(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """Have buckets worked on in `folder` from here on; returns a list that takes the names of tasks that were done there."""
    done: list[str] = []

    def away(work: Work, tasks: Sequence[Task], store: Path, _progress: Progress) -> Iterator[Receipt]:
        site, home = shared_with(work, store, (folder / "storage").as_uri()), Path.cwd()
        reads = sent_reads(site, tasks, store)
        empty = folder / f"worker-{len(done)}"
        empty.mkdir(parents=True)
        if Path("params.yaml").exists():
            shutil.copy("params.yaml", empty)
        os.chdir(empty)
        try:
            place = Place(site.arrive(), "cpu", settings().threads, untold, site.keeps_all)
            site.fetch_needed()
            worker = work.open(place)
            made = [site.finish(worker, task, own) for task, own in zip(tasks, reads, strict=True)]
        finally:
            os.chdir(home)
        done.extend(task.name for task in tasks)
        yield from (fetched(site, receipt, files, store) for receipt, files in made)
        site.clean_up()
        assert [file for file in (folder / "storage").rglob("*") if file.is_file() and "files" not in file.parts] == []

    monkeypatch.setitem(executing.EXECUTORS, "inline", away)
    monkeypatch.setenv("RETRIEVAL_EXECUTOR", "inline")
    monkeypatch.setenv("RETRIEVAL_STORE_GIB", "0")
    settings.cache_clear()
    return done
