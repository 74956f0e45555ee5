"""The flow rebuild: every stage that something changed for, as one Prefect task each, on the checkout in the working directory."""

import time
from dataclasses import dataclass
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed

from pipeline.contracts.errors import PipelineError
from tasks.comparison import metrics_markdown
from tasks.planning import PlannedStage, make_plan
from tasks.processes import Processes
from tasks.publication import publish_run
from tasks.settings import flow_settings
from tasks.stages import StageResult, StageState, reproduce
from tasks.summary import counts, failure
from tasks.walk import Report, Walk
from tasks.worker_watch import end_with_worker
from tasks.workspace import check_parameters, checkout_lock, save_experiment, set_parameters


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild did."""

    results: list[StageResult]
    seconds: float

    @property
    def failure(self) -> str:
        return failure(self.results)


@flow(name="rebuild", flow_run_name="rebuild", persist_result=False, validate_parameters=True)
def rebuild(
    targets: list[str] | None = None,
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
            set_parameters(root, overrides) if overrides else check_parameters(root)
            done = rebuild_checkout(root, targets or [], force=force, keep_going=keep_going)
            experiment = save_experiment(root, overrides) if overrides and not done.failure else ""
            publish_run(root, done.results, metrics_markdown(root))
    except PipelineError as error:
        return Failed(message=str(error))
    if done.failure:
        return Failed(message=done.failure)
    return Completed(message=counts(done.results) + (f"; experiment {experiment}" if experiment else ""))


def rebuild_checkout(root: Path, targets: list[str], *, force: bool = False, keep_going: bool = True) -> Rebuilt:
    """Plan and walk inside the present flow run; the caller holds the checkout's lock."""
    began = time.monotonic()
    plan = make_plan(root, targets, force=force)
    get_run_logger().info(plan.expectation)
    processes = Processes(root)
    futures: list[PrefectFuture[State[None]]] = []

    def start(planned: PlannedStage, report: Report) -> None:
        futures.append(run_stage.with_options(task_run_name=planned.stage.name).submit(processes, planned, report, force))

    def settle(result: StageResult) -> None:
        futures.append(note_stage.with_options(task_run_name=result.stage.name).submit(result))

    try:
        results = Walk(plan, start, settle, parallel=flow_settings().stages_at_once, keep_going=keep_going).run()
        for future in futures:
            future.wait()
    finally:
        processes.stop()
    return Rebuilt(results, time.monotonic() - began)


@task(name="stage", cache_policy=NO_CACHE, persist_result=False)
def run_stage(processes: Processes, planned: PlannedStage, report: Report, force: bool) -> State[None]:
    """Run one stage through DVC, its lines in the task's log."""
    logger, settings = get_run_logger(), flow_settings()
    logger.info("Because of: %s", "; ".join(planned.reasons))
    result = StageResult(planned.stage, StageState.FAILED, reason="the run was stopped")
    try:
        result = reproduce(processes, planned, logger.info, force=force, retries=settings.stage_retries, delay=settings.stage_retry_delay)
    except OSError as error:
        result = StageResult(planned.stage, StageState.FAILED, reason=str(error))
    finally:
        report(result)
    return as_state(result)


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
