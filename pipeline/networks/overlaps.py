"""What is known of objects of a benchmark in the sets that a network's weights were trained on."""

from collections.abc import Iterable
from typing import Literal

from pipeline.contracts.held_out import KnownOverlap
from pipeline.networks.training_sets import training_sets


def known_overlaps(names: Iterable[str], source: str, learner: Literal["network", "method"] = "network") -> list[KnownOverlap]:
    """What is known of objects of a data set, by its source, in training sets.

    Args:
        learner: what was trained on them.
    """
    listed = {name: training_sets()[name] for name in names if name in training_sets()}
    return [
        KnownOverlap(learner=learner, training_set=name, title=found.title, source=source, reason=found.reason, told_by=found.told_by)
        for name, found in listed.items()
        if source in found.shows
    ]
