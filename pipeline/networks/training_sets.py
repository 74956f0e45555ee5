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

HELD_OUT_OF = {"google_landmarks": "gldv2-clean"}
"""The training set that the held-out photographs of a source are, for sources that have one."""


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
    """Names of the sets that the weights of a network's card, or of its members, were trained on, before they came here and by steps of training."""
    before = [name for own in card.get("members", (card,)) for name in own["weights"]["trained_on"]]
    steps = [name for step in card.get("trained_on", ()) for name in learned_from(step["source"], step["role"])]
    return tuple(dict.fromkeys([*before, *steps]))


def learned_from(source: str, role: str) -> tuple[str, ...]:
    """Names of the sets that photographs of a data set's source belong to, by the role of those that something learns from."""
    return (HELD_OUT_OF[source],) if role == "held_out" and source in HELD_OUT_OF else ()
