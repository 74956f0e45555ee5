"""Live progress on a stage's page in Prefect, read off its lines: how far it has come, and the curve of its training."""

import re
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from pipeline.contracts.running.progress import EPOCH, LINE
from pipeline.stage.text_tables import markdown
from tasks.publication import store_artifact

WITHIN_EPOCH = re.compile(r", epoch (\d+) of (\d+)$")


class StageProgress:
    """Follows one stage; to be made and used inside its task run.

    Attributes:
        percent: of the work that is done, as far as it has been said.
        curve: a row per epoch of training.
    """

    def __init__(self, stage: str) -> None:
        self.stage, self.percent = stage, 0.0
        self.curve: list[dict[str, str]] = []
        self._artifact: UUID | None = None

    def follow(self, line: str) -> None:
        """Show what a line says, if it says how far the work has come."""
        if found := LINE.match(line):
            self._show(100 * _share(found))
        elif found := EPOCH.match(line):
            numbers = dict(part.rsplit(" ", 1) for part in found["numbers"].split(", "))
            self.curve.append({"epoch": found["epoch"]} | numbers)
            store_artifact(
                create_markdown_artifact, key=key_of("training", found["name"]), markdown=self.markdown(), description=f"Training of {found['name']}"
            )
            self._show(100 * int(found["epoch"]) / int(found["epochs"]))

    def markdown(self) -> str:
        """The curve as a table."""
        columns = list(dict.fromkeys(name for row in self.curve for name in row))
        return markdown(columns, ([row.get(name, "") for name in columns] for row in self.curve))

    def _show(self, percent: float) -> None:
        self.percent = percent
        if self._artifact is None:
            self._artifact = store_artifact(create_progress_artifact, key=key_of("progress", self.stage), progress=percent, description=self.stage)
        else:
            store_artifact(update_progress_artifact, artifact_id=self._artifact, progress=percent)


def _share(found: re.Match[str]) -> float:
    """Of a stage's work; of training, the epochs before this one count."""
    own = int(found["done"]) / max(int(found["total"]), 1)
    within = WITHIN_EPOCH.search(found["what"])
    return own if within is None else (int(within[1]) - 1 + own) / int(within[2])


def key_of(kind: str, name: str) -> str:
    """Prefect's keys have lower-case letters, digits and dashes alone."""
    return re.sub(r"[^a-z0-9]+", "-", f"{kind}-{name}".lower()).strip("-")
