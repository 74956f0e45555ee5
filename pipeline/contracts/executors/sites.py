"""Where a worker finds what its tasks read, and leaves what it makes: the folder that all machines share, or object storage.

A stage has one kind of site for all workers of a cluster; RETRIEVAL_RAY_STORAGE decides which.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.contracts.executors.executing import Receipt, Task, Work, Worker, finish, write_receipt
from pipeline.contracts.executors.object_storage import AT_ONCE, ObjectStorage, Sent, whole
from pipeline.contracts.running.progress import Progress
from pipeline.stage.errors import ParameterError, ShardError

SCRATCH = Path(".scratch")
"""Of a worker that shares no folder, in the folder that Ray gives it."""


@dataclass(frozen=True)
class SharedFolder:
    """Every machine sees the project's folder at the same path.

    Attributes:
        root: of the project.
        folder: of the scratch store.
        keeps_all: whether the files of all tasks lie there.
    """

    root: str
    folder: str
    keeps_all: bool = True

    def arrive(self) -> Path:
        """Make this process stand in the project's folder; returns the folder that takes the files."""
        os.chdir(self.root)
        return Path(self.folder)

    def fetch_needed(self) -> None:
        """Nothing: everything is there."""

    def begun(self, task: Task) -> int:
        """How often the task was begun and not ended."""
        tries = self._tries(task)
        return tries.stat().st_size if tries.exists() else 0

    def begin(self, task: Task) -> None:
        """Note that the task is begun."""
        with self._tries(task).open("ab") as stream:
            stream.write(b".")

    def ended(self, task: Task) -> None:
        """Forget the task's beginnings."""
        self._tries(task).unlink(missing_ok=True)

    def finish(self, worker: Worker, task: Task, reads: Sequence[Sent]) -> tuple[Receipt, list[Sent]]:
        """Do the task; returns its receipt, and its files where they have to be fetched."""
        return finish(worker, task, Path(self.folder)), []

    def clean_up(self) -> None:
        """Nothing: the stage removes its scratch store."""

    def _tries(self, task: Task) -> Path:
        return Path(self.folder, f"{task.name}.tries")


@dataclass(frozen=True)
class ByStorage:
    """Machines share object storage alone; a worker stands in a folder that Ray made of the code and params.yaml. Its methods are SharedFolder's.

    Attributes:
        work: STAGE/FINGERPRINT of the scratch store.
        needed: what every task reads.
    """

    storage: ObjectStorage
    work: str
    needed: tuple[Sent, ...] = ()
    keeps_all: bool = False

    def arrive(self) -> Path:
        folder = SCRATCH / self.work
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def fetch_needed(self) -> None:
        for sent in self.needed:
            self.storage.take(sent, Path(sent.path))

    def begun(self, task: Task) -> int:
        return self.storage.begun(self.work, task.name)

    def begin(self, task: Task) -> None:
        self.storage.begin(self.work, task.name)

    def ended(self, task: Task) -> None:
        self.storage.ended(self.work, task.name)

    def finish(self, worker: Worker, task: Task, reads: Sequence[Sent]) -> tuple[Receipt, list[Sent]]:
        folder = SCRATCH / self.work
        for sent in reads:
            self.storage.take(sent, Path(sent.path))
        receipt = finish(worker, task, folder)
        files = [self.storage.put(folder / name, name) for name in receipt.files]
        self.storage.put_receipt(self.work, receipt, files)
        for path in {Path(sent.path) for sent in reads if sent not in self.needed} | {folder / name for name in receipt.files}:
            path.unlink(missing_ok=True)
        return receipt, files

    def clean_up(self) -> None:
        self.storage.clean_up(self.work)


Site = SharedFolder | ByStorage
"""What a worker needs of the place where it works; it can be pickled."""


def shared_with(work: Work, folder: Path, address: str) -> Site:
    """The site of a stage's workers.

    Args:
        folder: of the scratch store.
        address: of object storage; empty where all machines see the project's folder.
    """
    if not address:
        return SharedFolder(str(Path.cwd()), str(folder.resolve()))
    storage, name = ObjectStorage(address), f"{folder.parent.name}/{folder.name}"
    return ByStorage(storage, name, tuple(storage.put_all(_belonging(whole(work.reads(folder)), folder, name))))


def sent_reads(site: Site, tasks: Sequence[Task], folder: Path) -> list[list[Sent]]:
    """Send what each task reads, where workers do not see it."""
    if isinstance(site, SharedFolder):
        return [[] for _ in tasks]

    def send(task: Task) -> list[Sent]:
        return [site.storage.put(*file) for file in _belonging(whole(task.reads), folder, site.work)]

    sent: list[list[Sent]] = []
    with Progress("send", len(tasks), "buckets") as progress, ThreadPoolExecutor(AT_ONCE) as pool:
        for own in pool.map(send, tasks):
            sent.append(own)
            progress.advance(1)
    return sent


def earlier(site: Site, tasks: Sequence[Task], folder: Path) -> Iterator[Receipt]:
    """Receipts that workers left in the storage after the stage that waited for them had died, with their files where these are still there."""
    if isinstance(site, ByStorage):
        wanted = {task.name for task in tasks}
        for receipt, files in site.storage.receipts(site.work):
            if receipt.task in wanted:
                try:
                    own = fetched(site, replace(receipt, earlier=True), files, folder)
                except ShardError:
                    continue
                yield own


def fetched(site: Site, receipt: Receipt, files: Sequence[Sent], folder: Path) -> Receipt:
    """Bring the files of a task into the scratch store, and then its receipt."""
    if isinstance(site, ByStorage):
        for sent in files:
            site.storage.take(sent, folder / sent.path)
        write_receipt(folder, receipt)
    return receipt


def _belonging(paths: Sequence[Path], folder: Path, work: str) -> list[tuple[Path, str]]:
    """Files, each with the path at which a worker looks for it."""
    found: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_relative_to(folder):
            found.append((path, (SCRATCH / work / path.relative_to(folder)).as_posix()))
        elif path.is_absolute() or ".." in path.parts:
            raise ParameterError(f"RETRIEVAL_RAY_STORAGE: {path} lies outside the project's folder, where workers do not look")
        else:
            found.append((path, path.as_posix()))
    return found
