"""Sets that published networks are trained on, by the names that parameters and cards use, and what is known of them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline.stage.tables import read_json

LISTED = Path(__file__).with_name("training_sets.json")
OWN = "own/"
"""What the name of a set starts with that is not listed, like one of a museum's own."""


class TrainingSet(BaseModel):
    """A set as the field knows it.

    Attributes:
        shows: sources of data sets, as `datasets.NAME.source` names them, whose objects it is known to show.
        reason: why, or what else is known of overlaps.
        told_by: the publication that says so; empty where none does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    title: str
    shows: tuple[str, ...]
    reason: str
    told_by: str


@cache
def training_sets() -> Mapping[str, TrainingSet]:
    """Every set that is listed, by name."""
    return {name: TrainingSet.model_validate(content) for name, content in read_json(LISTED).items()}


def checked(name: str) -> str:
    """A name that is listed, or says that it is not.

    Raises:
        ValueError: neither.
    """
    if name not in training_sets() and not (name.startswith(OWN) and name != OWN):
        raise ValueError(f"{name}: not a listed training set; allowed: {', '.join(training_sets())}, or {OWN}NAME")
    return name


def trained_on(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the sets that the weights of a network's card, or of its members, were trained on before they came here."""
    return tuple(dict.fromkeys(name for own in card.get("members", (card,)) for name in own["weights"]["trained_on"]))
