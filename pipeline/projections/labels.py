"""What held-out images show, as labels to learn by."""

from collections.abc import Sequence

import torch


def known_labels(instances: Sequence[str | None]) -> tuple[list[int], torch.Tensor, int]:
    """Places of the images whose instance is known, a label of each (n,) int64 from 0 on, and how many instances there are."""
    known = [index for index, instance in enumerate(instances) if instance is not None]
    names = {name: place for place, name in enumerate(dict.fromkeys(instances[index] for index in known))}
    return known, torch.tensor([names[instances[index]] for index in known], dtype=torch.int64), len(names)
