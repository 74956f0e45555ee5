"""The flow nightly: update, fetch data, rebuild, compare, publish, commit, send data, push; each step a task, each off by parameter."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.choices import StageName
from flows.rebuild import Rebuilt, rebuild_checkout
from pipeline.stage.errors import PipelineError
from pipeline.stage.places import COMPARISON
from tasks import workspace
from tasks.comparison import Compared, compare, last_results, refuse_drops
from tasks.publication import publish_run
from tasks.published_collections import hand_over_collections
from tasks.settings import flow_settings
from tasks.summary import counts, stage_markdown
from tasks.worker_watch import end_with_worker

REMOTE_PAUSES = (5.0, 30.0)
"""Seconds before a remote is asked again."""


@flow(name="nightly", flow_run_name="nightly", persist_result=False)
def nightly(
    update: bool = True,
    pull: bool = True,
    targets: list[StageName] | None = None,
    compare_with: str | None = "last results",
    largest_drop: float | None = 0.02,
    publish: bool = True,
    publish_collections: bool = True,
    commit: bool = True,
    push_data: bool = True,
    push: bool = True,
    wait: bool = True,
) -> State[None]:
    """Bring a checkout up to date and share what changed.

    Args:
        update: fetch and fast-forward the present branch.
        pull: fetch data and the run cache from the DVC remote.
        targets: stages to rebuild; all where none are named.
        compare_with: the commit to compare with, by default the last that recorded results; null for no comparison.
        largest_drop: by how much a mean average precision may fall, where that is surely no chance, before the results are
            kept back; null for no limit.
        publish: store Prefect artifacts.
        publish_collections: hand the collections over to RETRIEVAL_PUBLISHED, where that is set.
        commit: commit dvc.lock and reports.
        push_data: send data and the run cache to the DVC remote; before the commits, so that no commit lacks its data.
        push: push the branch.
        wait: wait for another run on this checkout; else refuse.
    """
    end_with_worker()
    root = Path.cwd()
    try:
        with workspace.checkout_lock(root, wait=wait):
            workspace.refuse_local_changes(root)
            if update:
                _step("update the checkout", lambda: workspace.update_checkout(root))
            workspace.check_parameters(root)
            unseen = _tried("scan folders of photographs", lambda: workspace.scan_sources(root))
            if pull:
                _step("fetch data", lambda: workspace.pull_data(root))
            done = rebuild_checkout(root, targets or [])
            compared = _compared(root, compare_with, may_fail=bool(done.failure))
            if publish:
                publish_run(root, done.results, compared.markdown if compared else "Not compared.")
            if done.failure:
                return Failed(message=done.failure)
            if compared and largest_drop is not None:
                _step("hold against the limit", lambda: refuse_drops(compared, largest_drop))
            if publish_collections and (folder := flow_settings().published):
                _step("publish collections", partial(hand_over_collections, root, folder))
            if commit:
                _step("commit", lambda: workspace.commit_results(root, commit_message(done, compared)) or "nothing to commit")
            if push_data and workspace.has_remote(root):
                _step("send data", lambda: workspace.push_data(root))
            if push:
                _step("push", lambda: workspace.push_commits(root))
    except PipelineError as error:
        return Failed(message=str(error))
    said = f"{counts(done.results)}. {compared.verdict if compared else ''}".rstrip()
    return Failed(message=f"{unseen}; what was imported before was used. {said}") if unseen else Completed(message=said)


def _compared(root: Path, revision: str | None, *, may_fail: bool) -> Compared | None:
    """The comparison; none where none is wanted, or where it fails after a stage that failed, whose reason comes first."""
    if not revision or not workspace.is_repository(root):
        return None
    try:
        return compare_results(root, revision)
    except (PipelineError, OSError) as error:
        if not may_fail:
            raise
        get_run_logger().warning("not compared: %s", error)
        return None


def _tried(name: str, action: Callable[[], str | None]) -> str:
    """Run a step whose failure the run outlives; returns what failed, or nothing."""
    try:
        _step(name, action)
    except PipelineError as error:
        return str(error)
    return ""


def _step(name: str, action: Callable[[], str | None]) -> None:
    """Run a step as a task; a failure ends the flow."""
    state = run_step.with_options(name=name, task_run_name=name)(action, return_state=True)
    if not state.is_completed():
        raise PipelineError(f"{name}: {state.message}")


@task(cache_policy=NO_CACHE, persist_result=False)
def run_step(action: Callable[[], str | None]) -> State[None]:
    """One step outside the stage graph; where a remote does not answer it is tried again."""
    logger = get_run_logger()
    for pause in (*REMOTE_PAUSES, None):
        try:
            said = action()
            return Completed(message=said or "done")
        except workspace.RemoteError as error:
            if pause is None:
                return Failed(message=str(error))
            logger.warning("%s; trying again in %.0f s.", error, pause)
            time.sleep(pause)
        except PipelineError as error:
            return Failed(message=str(error))
    raise AssertionError("the last pause is None")


@task(name="compare", task_run_name="compare", cache_policy=NO_CACHE, persist_result=False)
def compare_results(root: Path, revision: str) -> Compared:
    """The work tree's results against a commit's, with a page next to the report."""
    compared = compare(root, last_results(root) if revision == "last results" else revision, html=root / COMPARISON)
    get_run_logger().info(compared.verdict)
    return compared


def commit_message(done: Rebuilt, compared: Compared | None) -> str:
    """Subject, what changed, and which run on which code made it."""
    head = workspace.git(Path.cwd(), "rev-parse", "HEAD")
    parts = [f"Rebuild: {counts(done.results)}", stage_markdown(done.results)]
    parts += [compared.markdown.rstrip()] if compared else []
    return "\n\n".join(parts) + f"\n\nFlow-Run: {flow_run.get_id()}\nCode-Revision: {head}\n{workspace.TRAILER}\n"
