"""The executor that has the actors of a Ray cluster work on buckets. It needs the extra `cluster`.

The cluster is one that starts on this machine and ends with the stage, or the one that RETRIEVAL_RAY_ADDRESS names, whose machines all see
this folder at this path. An actor reads a bucket, computes, and publishes its files in the scratch store, each under a temporary name first;
only tasks and receipts travel, so that memory does not grow with the data. Ray gives the task of an actor that died to another one. A task
that was begun MOST_TRIES times without an end is named when all others are done.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.contracts.executors.executing import Place, Receipt, Task, Work, finish, held_devices, told, untold
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.settings import cores, settings
from pipeline.stage import errors
from pipeline.stage.errors import ParameterError, PipelineError, SanityError

log = logging.getLogger(__name__)
MOST_TRIES = 3
OBJECT_STORE = 128 * 2**20
"""Bytes of a local cluster's object store: receipts are small."""
MOST_BLOCKS = 4096


class BucketActor:
    """Does tasks where Ray puts it.

    Args:
        root: the folder that paths of the project start from.
        folder: of the scratch store.
    """

    def __init__(self, work: Work, root: str, folder: str, *, on_gpu: bool) -> None:
        os.chdir(root)
        if work.on_gpu:
            from pipeline.contracts.running.device import prepare_processor

            prepare_processor()
        self._folder = Path(folder)
        self._work, self._place = work, Place(self._folder, "cuda:0" if on_gpu else "cpu", settings().threads, untold)
        self._worker: Any = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"outcome": [json.dumps(self._outcome(task)) for task in batch["task"]]}

    def _outcome(self, task: Task) -> dict[str, Any]:
        """The receipt, or the error, by their names."""
        tries = self._folder / f"{task.name}.tries"
        begun = tries.stat().st_size if tries.exists() else 0
        if begun >= MOST_TRIES:
            tries.unlink()
            return {"deadly": f"{task.name}: the workers that took it died, {begun} times; look at its images and at memory"}
        with tries.open("ab") as stream:
            stream.write(b".")
        try:
            self._worker = self._worker or self._work.open(self._place)
            receipt = finish(self._worker, task, self._folder)
        except PipelineError as error:
            return {"error": type(error).__name__, "message": str(error)}
        except Exception:
            return {"error": "", "message": f"{task.name}: {traceback.format_exc()}"}
        finally:
            tries.unlink(missing_ok=True)
        return {"receipt": asdict(receipt)}


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
        _connect(ray)
        stack.callback(ray.shutdown)
        resources = ray.cluster_resources()
        on_gpu = work.on_gpu and settings().device != "cpu" and resources.get("GPU", 0) >= 1
        actors = _actors(resources, len(tasks), on_gpu=on_gpu)
        log.info("%d tasks on a Ray cluster: %d %s at most.", len(tasks), actors, "GPUs" if on_gpu else f"actors of {settings().threads} threads")
        yield from _receipts(ray, _outcomes(ray, work, tasks, folder, actors, on_gpu=on_gpu), progress)


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


def _connect(ray: Any) -> None:
    """Start a local cluster, or join the one at the address. A local one has one processor more than its actors take, so that nothing waits.

    Workers of a local cluster inherit the environment of its start; others are sent what they need, for which Ray starts them anew.
    """
    own = settings()
    needed = {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path[1:]]), "OMP_NUM_THREADS": str(own.threads)}
    common: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if not own.ray_address:
        processors = max(1, own.ray_actors or cores() // own.threads) * own.threads + 1
        with _environment(needed):
            ray.init(num_cpus=processors, include_dashboard=False, object_store_memory=OBJECT_STORE, **common)
        return
    passed_on = {name: value for name, value in os.environ.items() if name.startswith("RETRIEVAL_")}
    try:
        ray.init(address=own.ray_address, runtime_env={"env_vars": passed_on | needed}, **common)
    except ConnectionError as error:
        raise ParameterError(f"RETRIEVAL_RAY_ADDRESS={own.ray_address}: no cluster answers there ({str(error).splitlines()[0]})") from None


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


def _outcomes(ray: Any, work: Work, tasks: Sequence[Task], folder: Path, actors: int, *, on_gpu: bool) -> Iterator[dict[str, Any]]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    items = ray.data.from_items([{"task": task} for task in tasks], override_num_blocks=min(len(tasks), MOST_BLOCKS))
    done = items.map_batches(
        BucketActor,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        num_cpus=1 if on_gpu else settings().threads,
        num_gpus=1 if on_gpu else 0,
        fn_constructor_args=(work, str(Path.cwd()), str(folder.resolve())),
        fn_constructor_kwargs={"on_gpu": on_gpu},
    )
    yield from (json.loads(row["outcome"]) for row in done.iter_rows())


def _receipts(ray: Any, outcomes: Iterator[dict[str, Any]], progress: Progress) -> Iterator[Receipt]:
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
            yield receipt
    except ray.exceptions.RayError as error:
        raise SanityError(f"the Ray cluster failed: {str(error).splitlines()[0]}; run again, finished buckets stay") from None
    if deadly:
        raise SanityError("; ".join(sorted(deadly)))


def _named(kind: str, message: str) -> Exception:
    """The error that a worker met."""
    found = getattr(errors, kind, None)
    return found(message) if found else RuntimeError(message)
