"""What the Prefect server does by itself: it marks dead runs as crashed, and tells somebody of runs that failed."""

from datetime import timedelta
from uuid import UUID

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from pipeline.stage.errors import PipelineError
from tasks.settings import FlowSettings

CRASHED, TOLD = "dead runs are crashed", "failed runs are told"
SILENCE = timedelta(seconds=90)
"""Three heartbeats (prefect.toml: flows.heartbeat_frequency)."""
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut", "Suspended", "Paused")
BAD_ENDS = ("Failed", "Crashed", "TimedOut", "Cancelled")
"""A night is cancelled where the one before still runs, as one does that hangs."""
WEBHOOK = "retrieval-failures"
"""Name of the block that `retrieval setup` makes of RETRIEVAL_NOTIFY_URL."""


def crash_automation() -> Automation:
    """A heartbeat must be followed by another, or by the run's end."""
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


def failure_automation(block: UUID) -> Automation:
    """A run of a deployment that ends badly is told to a notification block; runs that somebody starts by hand are not.

    Args:
        block: the id of the block's document.
    """
    return Automation(
        name=TOLD,
        description="Sends a message when a run of a deployment fails or crashes.",
        trigger=EventTrigger(
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification({"prefect.resource.role": "deployment"}),
            for_each={"prefect.resource.id"},
            expect={f"prefect.flow-run.{state}" for state in BAD_ENDS},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=block,
                subject="Instance retrieval: {{ flow.name }} {{ flow_run.state.name }}",
                body="{{ flow_run.name }}: {{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
            )
        ],
    )


def ensure_automation(wanted: Automation) -> None:
    """Make an automation, or bring the one of its name up to date."""
    known = _known(wanted.name)
    if known:
        wanted.id = known[0]
        wanted.update()
    else:
        wanted.create()


def remove_automation(name: str) -> None:
    """Remove an automation, if there is one of this name."""
    with get_client(sync_client=True) as client:
        for found in _known(name):
            client.request("DELETE", "/automations/{id}", path_params={"id": found})


def notification_block(chosen: FlowSettings) -> UUID | None:
    """The block that is told of failed runs; None where the settings name none.

    Raises:
        PipelineError: the server has no such block.
    """
    if chosen.notify_block:
        kind, _, name = chosen.notify_block.partition("/")
        with get_client(sync_client=True) as client:
            try:
                return client.read_block_document_by_name(name, kind).id
            except ObjectNotFound:
                said = f"RETRIEVAL_NOTIFY_BLOCK: the server has no block {chosen.notify_block}; `prefect block ls` lists them as TYPE/NAME"
                raise PipelineError(said) from None
    address = chosen.notify_url.get_secret_value()
    if not address:
        return None
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    block = CustomWebhookNotificationBlock(name=WEBHOOK, url=address, json_data={"subject": "{{subject}}", "text": "{{body}}"})
    return UUID(str(block.save(WEBHOOK, overwrite=True)))


def _known(name: str) -> list[UUID]:
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/automations/filter", json={"automations": {"name": {"any_": [name]}}}).json()
    return [UUID(each["id"]) for each in found]
