"""The flow rebuild: every stage that something changed for, as one Prefect task each, on the checkout in the working directory."""

from dataclasses import dataclass
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed

from flows.choices import StageName
from pipeline.stage.errors import PipelineError
from tasks.comparison import metrics_markdown
from tasks.execution import BEGUN, Execution, StageFeed
from tasks.progress_artifacts import StageProgress
from tasks.publication import publish_run
from tasks.stages import StageResult, StageState
from tasks.summary import counts, failure
from tasks.worker_watch import end_with_worker
from tasks.workspace import check_parameters, checkout_lock, save_experiment, scan_folders, set_parameters


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild did."""

    results: list[StageResult]

    @property
    def failure(self) -> str:
        return failure(self.results)


@flow(name="rebuild", flow_run_name="rebuild", persist_result=False, validate_parameters=True)
def rebuild(
    targets: list[StageName] | None = None,
    overrides: list[str] | None = None,
    force: bool = False,
    keep_going: bool = True,
    wait: bool = True,
) -> State[None]:
    """Run what changed, and show what was done.

    Args:
        targets: stages, or kinds of stages (`extract`); all where none are named.
        overrides: parameters to set first, as `path=value`; the result is kept as a DVC experiment.
        force: run stages that are up to date, too.
        keep_going: after a failed stage, finish all that does not depend on it.
        wait: wait for another rebuild of this checkout; else refuse.
    """
    end_with_worker()
    root = Path.cwd()
    try:
        with checkout_lock(root, wait=wait):
            if overrides:
                set_parameters(root, overrides)
            elif BEGUN.get() is None:
                check_parameters(root)
            scanned = scan_folders(root) if BEGUN.get() is None else ""  # what was begun has been looked at
            if scanned:
                get_run_logger().info(scanned)
            done = rebuild_checkout(root, targets or [], force=force, keep_going=keep_going)
            experiment = save_experiment(root, overrides) if overrides and not done.failure else ""
            publish_run(root, done.results, metrics_markdown(root))
    except PipelineError as error:
        return Failed(message=str(error))
    if done.failure:
        return Failed(message=done.failure)
    return Completed(message=counts(done.results) + (f"; experiment {experiment}" if experiment else ""))


def rebuild_checkout(root: Path, targets: list[str], *, force: bool = False, keep_going: bool = True) -> Rebuilt:
    """Carry out a plan inside the present flow run, or show the one that was begun before it; the caller holds the checkout's lock."""
    execution = BEGUN.get()
    if execution is None:
        execution = Execution(root, targets, force=force, keep_going=keep_going)
        execution.begin()
    get_run_logger().info(execution.plan.expectation)
    futures: list[PrefectFuture[State[None]]] = []
    try:
        for event in execution.events():
            if isinstance(event, StageFeed):
                futures.append(run_stage.with_options(task_run_name=event.planned.stage.name).submit(event))
            else:
                futures.append(note_stage.with_options(task_run_name=event.stage.name).submit(event))
        for future in futures:
            future.wait()
    finally:
        execution.stop()
    return Rebuilt(execution.results)


@task(name="stage", cache_policy=NO_CACHE, persist_result=False)
def run_stage(feed: StageFeed) -> State[None]:
    """Show a stage that runs, its lines in the task's log."""
    logger = get_run_logger()
    logger.info("Because of: %s", "; ".join(feed.planned.reasons))
    progress = StageProgress(feed.planned.stage.name)
    for line in feed.lines():
        logger.info(line)
        progress.follow(line)
    return as_state(feed.result)


@task(name="stage", cache_policy=NO_CACHE, persist_result=False)
def note_stage(result: StageResult) -> State[None]:
    """Show a stage that needed no process."""
    return as_state(result)


def as_state(result: StageResult) -> State[None]:
    """The Prefect state that shows what became of a stage."""
    if result.state is StageState.FAILED:
        return Failed(message=result.reason)
    if result.state is StageState.BLOCKED:
        return Cancelled(name="Blocked", message=result.reason)
    return Completed(name=str(result.state), message=f"{result.seconds:.1f} s" if result.seconds else "nothing changed")
