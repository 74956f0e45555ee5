"""Which images models are learned on, and that they are not those they are applied to."""

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.stage.catalogue import CatalogueRow
from pipeline.stage.errors import LeakageError


class HeldOutSet(BaseModel):
    """The images that models are learned on.

    Attributes:
        duplicates: images of the benchmark that are among them, byte for byte.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    role: str
    images: int
    duplicates: int = 0


class LearnedOn(HeldOutSet):
    """The held-out set of a model, and the fingerprint of what was read of it."""

    fingerprint: str


class TrainedOn(BaseModel):
    """A data set that the network was fine-tuned on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    role: str
    images: int
    instances: int


class KnownOverlap(BaseModel):
    """A set that the network was trained on, or that the method learned from, and that shows objects of the benchmark.

    Attributes:
        learner: which of them.
        training_set, title: its name and what it is.
        source: of the benchmark's data set.
        reason: what it shows.
        told_by: the publication that says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learner: Literal["network", "method"] = "network"
    training_set: str
    title: str
    source: str
    reason: str
    told_by: str

    @property
    def warning(self) -> str:
        """For people."""
        return (
            f"the {self.learner} is trained on {self.training_set} ({self.title}), which is not apart from {self.source}: {self.reason} "
            f"({self.told_by}); results flatter it"
        )


def held_out_ids(rows: list[CatalogueRow]) -> tuple[set[str], str]:
    """(ids, role) of the images of a held-out set: those of role held_out, or the database's where there are none."""
    chosen = held_out_rows(rows)
    return {row.image_id for row in chosen}, chosen[0].role if chosen else "held_out"


def learned_and_kept_back(rows: list[CatalogueRow], share: float) -> tuple[set[str], set[str], str]:
    """(ids to learn on, ids of images that nothing learns from, role) of a held-out set.

    Whole instances are kept back, so that no photograph of what is learned calibrates; an image without an instance counts as one of its own.

    Args:
        share: of the instances, those first whose names have the smallest digests.
    """
    chosen = held_out_rows(rows)
    objects = sorted({_shown(row) for row in chosen}, key=lambda shown: hashlib.sha256(repr(shown).encode()).digest())
    kept = set(objects[: round(share * len(objects))])
    back = {row.image_id for row in chosen if _shown(row) in kept}
    return {row.image_id for row in chosen} - back, back, chosen[0].role if chosen else "held_out"


def held_out_rows(rows: list[CatalogueRow]) -> list[CatalogueRow]:
    """The readable images of role held_out, or the database's where there are none."""
    usable = [row for row in rows if row.readable]
    return [row for row in usable if row.role == "held_out"] or [row for row in usable if row.role == "database"]


def _shown(row: CatalogueRow) -> tuple[str, str]:
    return ("image", row.image_id) if row.instance is None else ("instance", row.instance)


def refuse_leakage(benchmark: str, dataset: str, learned_on: str, role: str, allowed: bool) -> None:
    """Refuse a model that was learned on the very set it is applied to.

    Raises:
        LeakageError: unless the benchmark allows it.
    """
    if learned_on == dataset and role == "database" and not allowed:
        raise LeakageError(
            f"benchmarks.{benchmark}: the model is learned on the database images of {dataset} and applied to them; "
            f"name another held_out, or set benchmarks.{benchmark}.allow_self_learning: true"
        )


def refuse_leakage_to_distractors(benchmark: str, distractors: str, role: str, learned_on: HeldOutSet | TrainedOn | None, allowed: bool) -> None:
    """Refuse a model that was learned on the very images that are mixed in.

    Args:
        role: of the images that serve as distractors.
        learned_on: what the model, or the network, was learned on; None where it learned nothing.

    Raises:
        LeakageError: unless the benchmark allows it.
    """
    if learned_on and (learned_on.dataset, learned_on.role) == (distractors, role) and not allowed:
        raise LeakageError(
            f"benchmarks.{benchmark}: the model is learned on the {role} images of {distractors}, which are its distractors as well; "
            f"name other distractors, or set benchmarks.{benchmark}.allow_self_learning: true"
        )


def refuse_trained_network(benchmark: str, dataset: str, card: dict[str, Any], allowed: bool) -> list[TrainedOn]:
    """Refuse a network that was fine-tuned on the very images that it is applied to.

    Args:
        card: of the active network.

    Returns:
        The data sets that it was fine-tuned on, in their order.

    Raises:
        LeakageError: unless the benchmark allows it.
    """
    steps = card.get("trained_on", [])
    if any((step["dataset"], step["role"]) == (dataset, "database") for step in steps) and not allowed:
        raise LeakageError(
            f"benchmarks.{benchmark}: the network is fine-tuned on the database images of {dataset} and applied to them, as instance search does; "
            f"set benchmarks.{benchmark}.allow_self_learning: true, or name another network"
        )
    return [TrainedOn(dataset=step["dataset"], role=step["role"], images=step["images"], instances=len(step["instances"])) for step in steps]


def duplicated(held_out: Iterable[CatalogueRow], dataset: Iterable[CatalogueRow]) -> list[tuple[str, str]]:
    """(held-out id, benchmark id) of byte-identical images, where the two are different rows."""
    seen = {row.sha256: row.image_id for row in held_out if row.readable}
    return [(seen[row.sha256], row.image_id) for row in dataset if row.sha256 in seen and row.readable and row.image_id != seen[row.sha256]]
