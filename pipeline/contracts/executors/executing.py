"""Executors: who works on a stage's buckets. RETRIEVAL_EXECUTOR chooses; each gives the same bytes.

A task is what is done with one bucket. Whoever does it writes its files into the scratch store and, last, its receipt: a task that has a
receipt is finished, in this run or an earlier one. Nothing but tasks and receipts travels.

inline: this process, on one device, one task after the other.
devices: this process, one thread per GPU that RETRIEVAL_DEVICE allows.
ray: the actors of a Ray cluster; see ray_executor.py.
"""

import json
import logging
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.contracts.running.settings import settings
from pipeline.contracts.running.turns import processor_turn
from pipeline.stage.tables import write_json

log = logging.getLogger(__name__)


class Task(Protocol):
    """What is done with one bucket; it can be pickled."""

    @property
    def name(self) -> str:
        """Unique in its stage, and safe as a file's name."""

    @property
    def images(self) -> int:
        """How many it has; 0 where that is not known before."""

    @property
    def reads(self) -> Sequence[Path]:
        """Files that it reads, besides those that its work reads."""


@dataclass(frozen=True)
class Done:
    """What came of a task.

    Attributes:
        files: written into the folder, in their order.
        images: how many the bucket has.
        fresh: those that were computed; the others were known.
        facts: what else the stage wants to know (JSON values).
    """

    files: list[str]
    images: int
    fresh: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class Receipt(Done):
    """Says that a task is finished.

    Attributes:
        seconds: that it took.
        earlier: whether an earlier run did it.
    """

    task: str
    seconds: float
    earlier: bool = False


@dataclass(frozen=True)
class Place:
    """Where a worker works.

    Attributes:
        folder: takes the files.
        device: cpu, or cuda:N.
        threads: that it may use.
        advance: is told of images that were computed, and of images that were known.
        keeps_all: whether the files of all tasks lie in the folder until the stage ends.
    """

    folder: Path
    device: str
    threads: int
    advance: Callable[[int, int], None]
    keeps_all: bool = True


def untold(computed: int, known: int) -> None:
    """For a `Place` where nobody asks how far the work is."""


Worker = Callable[[Any], Done]
"""Does one task after the other."""


class Work(Protocol):
    """What a stage does with its buckets; it can be pickled, so it holds names and parameters alone."""

    @property
    def on_gpu(self) -> bool:
        """Whether it uses an accelerator where there is one."""

    def reads(self, folder: Path) -> Sequence[Path]:
        """Files, and folders with all that is in them, that `open` reads.

        Args:
            folder: of the scratch store, which may hold some.
        """

    def open(self, place: Place) -> Worker:
        """Load what all tasks need."""


def run_tasks(work: Work, tasks: Sequence[Task], store: ScratchStore, progress: Progress) -> list[Receipt]:
    """Do every task that has no receipt; returns the receipts of all, in the order of the tasks.

    Raises:
        ParameterError: the executor that RETRIEVAL_EXECUTOR names cannot be used here.
    """
    receipts = {task.name: receipt for task in tasks if (receipt := earlier_receipt(store.folder, task.name))}
    for receipt in receipts.values():
        progress.advance(receipt.images, skipped=True)
    todo = [task for task in tasks if task.name not in receipts]
    if settings().ray_storage and settings().executor != "ray":
        log.warning("RETRIEVAL_RAY_STORAGE is not used by RETRIEVAL_EXECUTOR=%s; set that to ray.", settings().executor)
    for receipt in EXECUTORS[settings().executor](work, todo, store.folder, progress) if todo else ():
        receipts[receipt.task] = receipt
    return [receipts[task.name] for task in tasks]


def fresh_images(receipts: Sequence[Receipt]) -> int:
    """Images that this run computed."""
    return sum(receipt.fresh for receipt in receipts if not receipt.earlier)


def finish(worker: Worker, task: Task, folder: Path) -> Receipt:
    """Do a task and write its receipt."""
    started = time.monotonic()
    receipt = Receipt(**vars(worker(task)), task=task.name, seconds=round(time.monotonic() - started, 3))
    write_receipt(folder, receipt)
    return receipt


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Say that a task is finished, whose files are there."""
    write_json(_receipt_file(folder, receipt.task), asdict(receipt))


def earlier_receipt(folder: Path, task: str) -> Receipt | None:
    """The receipt of a task that an earlier run finished; None where none did, or where a machine that went down left half of it."""
    try:
        return Receipt(**json.loads(_receipt_file(folder, task).read_text(encoding="utf-8")) | {"earlier": True})
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _receipt_file(folder: Path, task: str) -> Path:
    return folder / f"{task}.receipt.json"


Executor = Callable[[Work, Sequence[Task], Path, Progress], Iterator[Receipt]]
"""Does tasks; yields their receipts in any order."""


def _inline(work: Work, tasks: Sequence[Task], folder: Path, progress: Progress) -> Iterator[Receipt]:
    return _on_threads(work, tasks, folder, progress, most=1)


def _on_threads(work: Work, tasks: Sequence[Task], folder: Path, progress: Progress, most: int | None = None) -> Iterator[Receipt]:
    """One thread per device, `most` devices at most; one device is used by the calling thread."""
    with ExitStack() as held:
        devices = held_devices(work, held, most)
        threads = max(1, settings().threads // len(devices))
        todo: queue.SimpleQueue[Task] = queue.SimpleQueue()
        for task in tasks:
            todo.put(task)
        workers = [work.open(Place(folder, device, threads, told(progress))) for device in devices]
        if len(workers) == 1:
            yield from _taken(workers[0], todo, folder)
            return
        with ThreadPoolExecutor(len(workers)) as pool:
            for done in [pool.submit(lambda own: list(_taken(own, todo, folder)), worker) for worker in workers]:
                yield from done.result()


def _taken(worker: Worker, todo: "queue.SimpleQueue[Task]", folder: Path) -> Iterator[Receipt]:
    while True:
        try:
            task = todo.get_nowait()
        except queue.Empty:
            return
        yield finish(worker, task, folder)


def told(progress: Progress) -> Callable[[int, int], None]:
    """For a `Place` whose images count in a progress."""

    def advance(computed: int, known: int) -> None:
        if known:
            progress.advance(known, skipped=True)
        if computed:
            progress.advance(computed)

    return advance


def held_devices(work: Work, held: ExitStack, most: int | None = None) -> list[str]:
    """The devices to work on, held until the stack closes: those that are visible, or the processor."""
    if not work.on_gpu:
        held.enter_context(processor_turn())
        return ["cpu"]
    from pipeline.contracts.running.device import hold, visible_devices

    return [str(held.enter_context(hold(device))) for device in visible_devices()[:most]]


def _ray(work: Work, tasks: Sequence[Task], folder: Path, progress: Progress) -> Iterator[Receipt]:
    """Ray is imported here, so that others do without."""
    from pipeline.contracts.executors.ray_executor import run_on_ray

    return run_on_ray(work, tasks, folder, progress)


EXECUTORS: dict[str, Executor] = {"inline": _inline, "devices": _on_threads, "ray": _ray}
