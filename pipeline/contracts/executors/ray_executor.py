"""The executor that has the actors of a Ray cluster work on buckets. It needs the extra `cluster`.

The cluster is one that starts on this machine and ends with the stage, or the one that RETRIEVAL_RAY_ADDRESS names. Its machines all see this
folder at this path, or share the object storage that RETRIEVAL_RAY_STORAGE names; see sites.py. An actor reads a bucket, computes, and
publishes its files, each under a temporary name first; only tasks and receipts travel by Ray, so that memory does not grow with the data. Ray
gives the task of an actor that died to another one. A task that was begun MOST_TRIES times without an end is named when all others are done.
"""

import json
import logging
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pipeline
from pipeline.contracts.executors.executing import Place, Receipt, Task, Work, Worker, held_devices, told, untold
from pipeline.contracts.executors.object_storage import Sent
from pipeline.contracts.executors.sites import ByStorage, SharedFolder, earlier, fetched, sent_reads, shared_with
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.settings import cores, settings
from pipeline.stage import errors
from pipeline.stage.errors import ParameterError, PipelineError, SanityError

log = logging.getLogger(__name__)
MOST_TRIES = 3
OBJECT_STORE = 128 * 2**20
"""Bytes of a local cluster's object store: receipts are small."""
MOST_BLOCKS = 4096
PASSED_ON = ("workers", "device", "batch_size", "pixels_at_once")
"""Settings that hold on any machine."""


class BucketActor:
    """Does tasks where Ray puts it.

    Args:
        site: where that is.
    """

    def __init__(self, work: Work, site: SharedFolder | ByStorage, *, on_gpu: bool) -> None:
        folder = site.arrive()
        if work.on_gpu:
            from pipeline.contracts.running.device import prepare_processor

            prepare_processor()
        self._work, self._site = work, site
        self._place = Place(folder, "cuda:0" if on_gpu else "cpu", settings().threads, untold, site.keeps_all)
        self._worker: Worker | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"outcome": [json.dumps(self._outcome(task, reads)) for task, reads in zip(batch["task"], batch["reads"], strict=True)]}

    def _outcome(self, task: Task, reads: Sequence[Sent]) -> dict[str, Any]:
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
        return {"receipt": asdict(receipt), "files": [asdict(sent) for sent in files]}

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


def _on_cluster(
    ray: Any, stack: ExitStack, work: Work, site: SharedFolder | ByStorage, tasks: Sequence[Task], folder: Path, progress: Progress
) -> Iterator[Receipt]:
    """Do tasks; the connection to the cluster ends with the stack."""
    reads = sent_reads(site, tasks, folder)
    _connect(ray, stack.enter_context(_shipped()) if settings().ray_storage else None)
    stack.callback(ray.shutdown)
    resources = ray.cluster_resources()
    on_gpu = work.on_gpu and settings().device != "cpu" and resources.get("GPU", 0) >= 1
    actors = _actors(resources, len(tasks), on_gpu=on_gpu)
    log.info("%d tasks on a Ray cluster: %d %s at most.", len(tasks), actors, "GPUs" if on_gpu else f"actors of {settings().threads} threads")
    for receipt, files in _receipts(ray, _outcomes(ray, work, site, tasks, reads, actors, on_gpu=on_gpu), progress):
        yield fetched(site, receipt, files, folder)


def _imported() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise ParameterError("RETRIEVAL_EXECUTOR=ray: Ray is not installed; install the extra: uv pip install -e '.[cluster]'") from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
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
    passed_on = {name: value for name, value in os.environ.items() if name.startswith("RETRIEVAL_")} | needed
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


def _actors(resources: dict[str, float], tasks: int, *, on_gpu: bool) -> int:
    """One per GPU, or as many as fit with one processor left over."""
    fit = int(resources["GPU"]) if on_gpu else max(1, int(resources.get("CPU", 1) - 1) // settings().threads)
    return max(1, min(fit, settings().ray_actors or fit, tasks))


def _outcomes(
    ray: Any, work: Work, site: SharedFolder | ByStorage, tasks: Sequence[Task], reads: Sequence[list[Sent]], actors: int, *, on_gpu: bool
) -> Iterator[dict[str, Any]]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    rows = [{"task": task, "reads": own} for task, own in zip(tasks, reads, strict=True)]
    items = ray.data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS))
    done = items.map_batches(
        BucketActor,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        num_cpus=1 if on_gpu else settings().threads,
        num_gpus=1 if on_gpu else 0,
        fn_constructor_args=(work, site),
        fn_constructor_kwargs={"on_gpu": on_gpu},
    )
    yield from (json.loads(row["outcome"]) for row in done.iter_rows())


def _receipts(ray: Any, outcomes: Iterator[dict[str, Any]], progress: Progress) -> Iterator[tuple[Receipt, list[Sent]]]:
    deadly, advance = list[str](), told(progress)
    try:
        for outcome in outcomes:
            if "deadly" in outcome:
                deadly.append(outcome["deadly"])
                continue
            if "error" in outcome:
                raise _named(outcome["error"], outcome["message"])
            receipt = Receipt(**outcome["receipt"])
            advance(receipt.fresh, receipt.images - receipt.fresh)
            yield receipt, [Sent(**sent) for sent in outcome["files"]]
    except ray.exceptions.RayError as error:
        raise SanityError(f"the Ray cluster failed: {str(error).splitlines()[0]}; run again, finished buckets stay") from None
    if deadly:
        raise SanityError("; ".join(sorted(deadly)))


def _named(kind: str, message: str) -> Exception:
    """The error that a worker met."""
    found = getattr(errors, kind, None)
    return found(message) if found else RuntimeError(message)
