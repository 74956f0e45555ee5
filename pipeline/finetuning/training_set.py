"""Which photographs are trained on, what they show, and which instances are kept for validation."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from pipeline.stage.catalogue import CatalogueRow
from pipeline.stage.errors import LeakageError, ModelError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSet:
    """Photographs by index.

    Attributes:
        image_ids: N of them, those that are trained on first.
        labels: (N,) int64, instances by number; the classes first.
        classes: the instances that are trained on; the class of label c is classes[c].
        validation: the instances that are not; their labels go on from those of the classes.
    """

    image_ids: tuple[str, ...]
    labels: torch.Tensor
    classes: tuple[str, ...]
    validation: tuple[str, ...]

    @property
    def trained(self) -> int:
        """How many photographs are trained on; the others are validated on."""
        return int((self.labels < len(self.classes)).sum())

    @classmethod
    def of(cls, rows: Iterable[CatalogueRow], role: str, validation_share: float, validation_seed: int, where: str) -> "TrainingSet":
        """Split the labelled photographs of a role by instance.

        Instances whose photographs are all unreadable are left out with a warning.

        Args:
            where: what the errors name, like 'finetune.NAME'.

        Raises:
            ModelError: fewer than two instances are left to train on, or to validate on.
        """
        chosen = [row for row in rows if row.role == role and row.instance is not None]
        counts = Counter(str(row.instance) for row in chosen if row.readable)
        unreadable = sorted({str(row.instance) for row in chosen} - counts.keys())
        if unreadable:
            log.warning("%s: all photographs of %d instances are unreadable, which are left out: %s.", where, len(unreadable), _some(unreadable))
        alone = sorted(instance for instance, count in counts.items() if count == 1)
        if alone:
            log.info("%s: %d instances have a single photograph, which is its own positive in two views: %s.", where, len(alone), _some(alone))
        classes, validation = _split(counts, validation_share, validation_seed)
        _require_two(where, role, classes, validation, bool(validation_share))
        numbers = {instance: number for number, instance in enumerate((*classes, *validation))}
        usable = sorted((row for row in chosen if row.readable), key=lambda row: (numbers[str(row.instance)] >= len(classes), row.image_id))
        labels = torch.tensor([numbers[str(row.instance)] for row in usable])
        return cls(tuple(row.image_id for row in usable), labels, classes, validation)

    def refuse_trained(self, trained: Iterable[str], where: str, start: str) -> None:
        """Refuse validation on instances that the network at the start was trained on.

        Raises:
            LeakageError: by the first of them.
        """
        both = sorted(set(trained) & set(self.validation))
        if both:
            raise LeakageError(
                f"{where}: {start} was trained on {both[0]}, which is to be validated on; give both the same validation_share and validation_seed"
            )


def _split(counts: Counter[str], share: float, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(classes, validation), each sorted; one that has a single photograph can't be validated on."""
    fit = sorted(instance for instance, count in counts.items() if count > 1)
    order = torch.randperm(len(fit), generator=torch.Generator().manual_seed(seed)).tolist()
    wanted = max(2, round(share * len(counts))) if share else 0
    validation = sorted(fit[index] for index in order[:wanted])
    return tuple(sorted(counts.keys() - set(validation))), tuple(validation)


def _require_two(where: str, role: str, classes: tuple[str, ...], validation: tuple[str, ...], validated: bool) -> None:
    if len(classes) < 2:
        raise ModelError(
            f"{where}: {len(classes)} instances of role {role} are left to train on; at least two are needed, each with a readable photograph"
        )
    if validated and len(validation) < 2:
        raise ModelError(f"{where}.validation_share: only {len(validation)} instances have the two photographs that validation needs; set it to 0")


def _some(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
