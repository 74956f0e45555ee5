"""A database whose descriptors are mixed with those of their neighbours, or of what shows the same; it is held in memory for that."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from pipeline.reranking.expansion import augment_database, augment_within_instances, average_instances
from pipeline.reranking.params import AugmentationParameters
from pipeline.search.plain_search import Rows

BLOCK = 4096


def augmented_rows(
    blocks: Iterator[tuple[list[str], Rows]], images: int, parameters: AugmentationParameters, instances: Mapping[str, str], device: torch.device
) -> tuple[list[str], Rows]:
    """All image ids, and their augmented descriptors (N, D) float32.

    Args:
        blocks: (image ids, descriptors) of the database.
        images: that it has at most.
        instances: what each image shows, by id; one that shows nothing known, as distractors do, stays as it is.
    """
    names: list[str] = []
    held: Rows = np.empty((0, 0), np.float32)
    for ids, rows in blocks:
        held = np.empty((images, rows.shape[1]), np.float32) if not names else held
        held[len(names) : len(names) + len(ids)] = rows
        names += ids
    vectors = torch.from_numpy(held[: len(names)]).to(device)
    return names, _augmented(names, vectors, parameters, instances).cpu().numpy()


def in_blocks(names: list[str], rows: Rows) -> Iterator[tuple[list[str], Rows]]:
    """Rows that are held, block by block."""
    for first in range(0, len(names), BLOCK):
        yield names[first : first + BLOCK], rows[first : first + BLOCK]


def _augmented(names: list[str], vectors: torch.Tensor, own: AugmentationParameters, instances: Mapping[str, str]) -> torch.Tensor:
    if own.neighbours:
        return augment_database(vectors, own.neighbours, own.weights, own.alpha)
    numbers = {instance: number for number, instance in enumerate(sorted(set(instances.values())))}
    alone = len(numbers)
    labels = torch.tensor([numbers.get(instances.get(name, ""), alone + place) for place, name in enumerate(names)], device=vectors.device)
    match own.instances:
        case "weighted":
            return augment_within_instances(vectors, labels)
        case "mean":
            means, found = average_instances(vectors, labels)
            return means[torch.searchsorted(found, labels)]
        case _:
            raise ValueError(f"instances {own.instances!r} of an augmentation is unknown; there are: mean, weighted")
