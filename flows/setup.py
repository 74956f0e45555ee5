"""The flow setup: what the Prefect server must know of this project, made or brought up to date; running it again changes nothing."""

import os
import sys
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from flows.automations import CRASHED, TOLD, crash_automation, ensure_automation, failure_automation, notification_block, remove_automation
from pipeline.stage.errors import PipelineError
from tasks.processes import run_checked
from tasks.settings import flow_settings

POOL = "gpu-box"
RUNS_AT_ONCE = 3
"""Of the whole pool; each deployment has its limit of one run in prefect.yaml, which recovers after a crash."""


@flow(name="setup", flow_run_name="setup", persist_result=False)
def setup() -> None:
    """Work pool, deployments of prefect.yaml, and what the server does by itself."""
    root = Path.cwd()
    ensure_pool()
    deploy(root)
    ensure_automations()


@task(name="work pool", cache_policy=NO_CACHE, persist_result=False)
def ensure_pool() -> None:
    """A process work pool with a limit of runs at once."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
            client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=RUNS_AT_ONCE))
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", concurrency_limit=RUNS_AT_ONCE))
    get_run_logger().info("Work pool %s: at most %d runs at once.", POOL, RUNS_AT_ONCE)


@task(name="deployments", cache_policy=NO_CACHE, persist_result=False)
def deploy(root: Path) -> None:
    """Every deployment of prefect.yaml, on this checkout."""
    if not (root / "prefect.yaml").exists():
        raise PipelineError(f"{root}: no prefect.yaml; run the command in the project's folder")
    os.environ["RETRIEVAL_CHECKOUT"] = str(root)
    said = run_checked(root, sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all")
    get_run_logger().info("Deployments: %s", ", ".join(sorted({line.split("'")[1] for line in said.splitlines() if "Deployment '" in line})))


@task(name="automations", cache_policy=NO_CACHE, persist_result=False)
def ensure_automations() -> None:
    """A run whose heartbeats stop is marked as crashed, which frees its place; a run that fails is told, where the settings say to whom."""
    ensure_automation(crash_automation())
    block = notification_block(flow_settings())
    if block is None:
        remove_automation(TOLD)
    else:
        ensure_automation(failure_automation(block))
    get_run_logger().info("Automations: %s%s.", CRASHED, "" if block is None else f", {TOLD}")
