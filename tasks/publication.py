"""Prefect artifacts: what a run shows on its page."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.settings import flow_settings
from tasks.stages import StageResult
from tasks.summary import counts, mermaid, stage_rows

log = logging.getLogger(__name__)


@task(name="publish", cache_policy=NO_CACHE, persist_result=False)
def publish_run(root: Path, results: Sequence[StageResult], comparison: str) -> None:
    """Stage table, stage graph, metrics with their differences (Markdown), and the link to the report."""
    picture = f"```mermaid\n{mermaid(results)}\n```\n"
    store_artifact(create_table_artifact, key="stages", table=stage_rows(results), description=f"Stages: {counts(results)}")
    store_artifact(create_markdown_artifact, key="stage-graph", markdown=picture, description="Stages coloured by state")
    store_artifact(create_markdown_artifact, key="metrics", markdown=comparison, description="Metrics against the last commit")
    if (root / "reports" / "index.html").exists():
        link = flow_settings().report_link(root)
        store_artifact(create_link_artifact, key="report", link=link, link_text="reports/index.html", description="The report")


def store_artifact(create: Callable[..., Any], **content: Any) -> Any:
    """Returns its id, or None: a server that does not answer costs the artifact, not the run."""
    try:
        return create(**content)
    except Exception as error:  # every kind of transport and server error
        log.warning("The artifact %s could not be stored: %s", content.get("key") or content["artifact_id"], error)
        return None
