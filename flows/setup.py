"""The flow setup: what the Prefect server must know of this project, made or brought up to date; running it again changes nothing."""

import os
import sys
from datetime import timedelta
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.automations import Automation
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from pipeline.stage.errors import PipelineError
from tasks.processes import run_checked

POOL = "gpu-box"
RUNS_AT_ONCE = 3
"""Of the whole pool; each deployment has its limit of one run in prefect.yaml, which recovers after a crash."""
CRASHED = "dead runs are crashed"
SILENCE = timedelta(seconds=90)
"""Three heartbeats (prefect.toml: flows.heartbeat_frequency)."""
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut", "Suspended", "Paused")


@flow(name="setup", flow_run_name="setup", persist_result=False)
def setup() -> None:
    """Work pool, deployments of prefect.yaml, and the automation that marks dead runs as crashed."""
    root = Path.cwd()
    ensure_pool()
    deploy(root)
    ensure_automation()


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


@task(name="automation", cache_policy=NO_CACHE, persist_result=False)
def ensure_automation() -> None:
    """A run whose heartbeats stop is marked as crashed, which frees its place."""
    wanted = crash_automation()
    with get_client(sync_client=True) as client:
        known = client.request("POST", "/automations/filter", json={"automations": {"name": {"any_": [CRASHED]}}}).json()
    if known:
        wanted.id = known[0]["id"]
        wanted.update()
    else:
        wanted.create()
    get_run_logger().info("Automation: %s after %d s without a heartbeat.", CRASHED, SILENCE.total_seconds())


def crash_automation() -> Automation:
    """The automation: a heartbeat must be followed by another, or by the run's end."""
    heartbeat = "prefect.flow-run.heartbeat"
    return Automation(
        name=CRASHED,
        description="Marks flow runs as crashed whose process is gone.",
        trigger=EventTrigger(
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            for_each={"prefect.resource.id"},
            after={heartbeat},
            expect={heartbeat, *(f"prefect.flow-run.{state}" for state in ENDS)},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="No heartbeat: the process is gone.")],
    )
