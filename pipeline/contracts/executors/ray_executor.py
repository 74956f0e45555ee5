"""The executor that has the actors of a Ray cluster work on buckets. It needs the extra `cluster`.

The cluster is one that starts on this machine and ends with the stage, or the one that RETRIEVAL_RAY_ADDRESS names. Its machines all see this
folder at this path, or share the object storage that RETRIEVAL_RAY_STORAGE names; see sites.py. An actor reads a bucket, computes, and
publishes its files, each under a temporary name first; only tasks and receipts travel by Ray, so that memory does not grow with the data. The
task of an actor that died goes to another one. A task that was begun MOST_TRIES times without an end is named when all others are done.

Actors are Ray's own, without Ray Data: that keeps three more processes and looks at its actors without a pause, which costs a sixth of a core.
"""

import logging
import os
import shutil
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pipeline
from pipeline.contracts.executors.executing import Place, Receipt, Task, Work, Worker, held_devices, told, untold
from pipeline.contracts.executors.object_storage import Sent
from pipeline.contracts.executors.sites import Site, earlier, fetched, sent_reads, shared_with
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.settings import cores, settings
from pipeline.stage import errors
from pipeline.stage.errors import ParameterError, PipelineError, SanityError

log = logging.getLogger(__name__)
MOST_TRIES = 3
OBJECT_STORE = 128 * 2**20
"""Bytes of a local cluster's object store: receipts are small."""
MOST_LOST = 12
"""Actors that may die in a row; a task that is deadly takes MOST_TRIES of them and its end is an outcome."""
LOOK_AGAIN = 5.0
"""Seconds after which a pool looks for machines that joined."""
SECRETS = frozenset({"RETRIEVAL_TOKEN", "RETRIEVAL_NOTIFY_URL", "RETRIEVAL_NOTIFY_BLOCK"})
"""Variables that no stage needs; Ray writes those that it sends into its logs."""
PASSED_ON = ("workers", "device", "batch_size", "pixels_at_once")
"""Settings that hold on any machine."""


Bucket = tuple[Task, list[Sent]]
"""A task and what was sent for it."""


class BucketActor:
    """Does tasks where Ray puts it.

    Args:
        site: where that is.
    """

    def __init__(self, work: Work, site: Site, *, on_gpu: bool) -> None:
        folder = site.arrive()
        if work.on_gpu:
            from pipeline.contracts.running.device import prepare_processor

            prepare_processor()
        self._work, self._site = work, site
        self._place = Place(folder, "cuda:0" if on_gpu else "cpu", settings().threads, untold, site.keeps_all)
        self._worker: Worker | None = None

    def ready(self) -> None:
        """Ends when the actor has found its place."""

    def do(self, task: Task, reads: Sequence[Sent]) -> dict[str, Any]:
        """The receipt with its files, or the error, by their names."""
        try:
            begun = self._site.begun(task)
            if begun >= MOST_TRIES:
                self._site.ended(task)
                return {"deadly": f"{task.name}: the workers that took it died, {begun} times; look at its images and at memory"}
            self._site.begin(task)
            try:
                receipt, files = self._site.finish(self._opened(), task, reads)
            finally:
                self._site.ended(task)
        except PipelineError as error:
            return {"error": type(error).__name__, "message": str(error)}
        except Exception:
            return {"error": "", "message": f"{task.name}: {traceback.format_exc()}"}
        return {"receipt": receipt, "files": files}

    def _opened(self) -> Worker:
        """What does the tasks, from the first of them on."""
        if self._worker is None:
            self._site.fetch_needed()
            self._worker = self._work.open(self._place)
        return self._worker


def run_on_ray(work: Work, tasks: Sequence[Task], folder: Path, progress: Progress) -> Iterator[Receipt]:
    """Do tasks on a cluster; yields receipts as they come.

    Raises:
        ParameterError: Ray is not installed, or there is no cluster at the address.
        PipelineError: what a worker refused; by its name, a task whose workers died.
    """
    ray = _imported()
    with ExitStack() as stack:
        if not settings().ray_address:
            held_devices(work, stack)
        site = shared_with(work, folder, settings().ray_storage)
        left = {task.name: task for task in tasks}
        for receipt in earlier(site, tasks, folder):
            del left[receipt.task]
            progress.advance(receipt.images, skipped=True)
            yield receipt
        if left:
            yield from _on_cluster(ray, stack, work, site, list(left.values()), folder, progress)
        site.clean_up()


def _on_cluster(ray: Any, stack: ExitStack, work: Work, site: Site, tasks: Sequence[Task], folder: Path, progress: Progress) -> Iterator[Receipt]:
    """Do tasks; the connection to the cluster ends with the stack."""
    reads = sent_reads(site, tasks, folder)
    _connect(ray, stack.enter_context(_shipped()) if settings().ray_storage else None)
    stack.callback(ray.shutdown)
    pool = ActorPool(ray, work, site)
    log.info("%d tasks on a Ray cluster: %s.", len(tasks), pool.about(len(tasks)))
    for receipt, files in _receipts(ray, pool.outcomes(list(zip(tasks, reads, strict=True))), progress):
        yield fetched(site, receipt, files, folder)


class ActorPool:
    """As many actors as fit, each with one task; machines may join and leave.

    Args:
        ray: the library, connected to a cluster.
    """

    def __init__(self, ray: Any, work: Work, site: Site) -> None:
        self._ray, self._own = ray, settings()
        self._on_gpu = work.on_gpu and self._own.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
        needed = {"num_cpus": 1, "num_gpus": 1} if self._on_gpu else {"num_cpus": self._own.threads}
        actor = ray.remote(BucketActor).options(max_restarts=0, max_task_retries=0, **needed)
        self._start: Callable[[], Any] = partial(actor.remote, work, site, on_gpu=self._on_gpu)
        self._busy: dict[Any, tuple[Any, Bucket | None]] = {}

    def about(self, tasks: int) -> str:
        """For people."""
        return f"{self._wanted(tasks)} {'GPUs' if self._on_gpu else f'actors of {self._own.threads} threads'} at most"

    def outcomes(self, tasks: list[Bucket]) -> Iterator[dict[str, Any]]:
        """What `BucketActor.do` says of each task, in any order.

        Raises:
            SanityError: no machine is left, or actors die whatever they do.
        """
        todo, lost = deque(tasks), 0
        died = self._ray.exceptions.RayActorError, self._ray.exceptions.OutOfMemoryError
        while todo or any(own for _, own in self._busy.values()):
            self._hire(len(todo))
            answers = self._ray.wait(list(self._busy), timeout=LOOK_AGAIN)[0]
            if not answers and not any(node["Alive"] for node in self._ray.nodes()):
                raise SanityError("the Ray cluster failed: no machine of it is left; run again, finished buckets stay")
            for answer in answers:
                actor, own = self._busy.pop(answer)
                try:
                    outcome = self._ray.get(answer)
                except died as error:
                    todo.extendleft([own] if own else [])
                    lost += 1
                    if lost >= MOST_LOST:
                        said = str(error).strip().splitlines()[-1]
                        raise SanityError(f"the Ray cluster lost {lost} actors, and none did anything in between: {said}") from None
                    continue
                if todo:
                    bucket = todo.popleft()
                    self._busy[actor.do.remote(*bucket)] = actor, bucket
                if own:
                    lost = 0
                    yield outcome

    def _hire(self, waiting: int) -> None:
        """Start actors for tasks that wait; those that find no place yet have no task either."""
        working = sum(own is not None for _, own in self._busy.values())
        while len(self._busy) < self._wanted(waiting + working):
            actor = self._start()
            self._busy[actor.ready.remote()] = actor, None

    def _wanted(self, tasks: int) -> int:
        """One actor per GPU, or as many as fit with one processor left over."""
        resources = self._ray.cluster_resources()
        fit = int(resources.get("GPU", 0)) if self._on_gpu else int(resources.get("CPU", 1) - 1) // self._own.threads
        return max(1, min(fit, self._own.ray_actors or fit, tasks))


def _imported() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ParameterError("RETRIEVAL_EXECUTOR=ray: Ray is not installed; install the extra: uv pip install -e '.[cluster]'") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def _connect(ray: Any, shipped: Path | None) -> None:
    """Start a local cluster, or join the one at the address. A local one has one processor more than its actors take, so that nothing waits.

    Workers of a local cluster inherit the environment of its start; others are sent what they need, for which Ray starts them anew.

    Args:
        shipped: a folder for workers that do not see the project's; they are told nothing of this machine's folders.
    """
    own = settings()
    needed = {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path[1:]]), "OMP_NUM_THREADS": str(own.threads)}
    common: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    passed_on = {name: value for name, value in os.environ.items() if name.startswith("RETRIEVAL_") and name not in SECRETS} | needed
    if shipped:
        passed_on = {f"RETRIEVAL_{name.upper()}": str(getattr(own, name)) for name in PASSED_ON} | {"OMP_NUM_THREADS": str(own.threads)}
        common["runtime_env"] = {"working_dir": str(shipped), "env_vars": passed_on | {"RETRIEVAL_STORE_GIB": "0"}}
    elif own.ray_address:
        common["runtime_env"] = {"env_vars": passed_on}
    if not own.ray_address:
        processors = max(1, own.ray_actors or cores() // own.threads) * own.threads + 1
        with _environment(needed):
            ray.init(num_cpus=processors, include_dashboard=False, object_store_memory=OBJECT_STORE, **common)
        return
    try:
        ray.init(address=own.ray_address, **common)
    except ConnectionError as error:
        raise ParameterError(f"RETRIEVAL_RAY_ADDRESS={own.ray_address}: no cluster answers there ({str(error).splitlines()[0]})") from None


@contextmanager
def _shipped() -> Iterator[Path]:
    """A folder of what workers need that do not see the project's: its code and params.yaml."""
    with tempfile.TemporaryDirectory(prefix="shipped-") as folder:
        shutil.copytree(Path(pipeline.__path__[0]), Path(folder, "pipeline"), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy("params.yaml", folder)
        yield Path(folder)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _receipts(ray: Any, outcomes: Iterator[dict[str, Any]], progress: Progress) -> Iterator[tuple[Receipt, list[Sent]]]:
    deadly, advance = list[str](), told(progress)
    try:
        for outcome in outcomes:
            if "deadly" in outcome:
                deadly.append(outcome["deadly"])
                continue
            if "error" in outcome:
                raise _named(outcome["error"], outcome["message"])
            receipt = outcome["receipt"]
            advance(receipt.fresh, receipt.images - receipt.fresh)
            yield receipt, outcome["files"]
    except ray.exceptions.RayError as error:
        raise SanityError(f"the Ray cluster failed: {str(error).splitlines()[0]}; run again, finished buckets stay") from None
    if deadly:
        raise SanityError("; ".join(sorted(deadly)))


def _named(kind: str, message: str) -> Exception:
    """The error that a worker met."""
    found = getattr(errors, kind, None)
    return found(message) if found else RuntimeError(message)
