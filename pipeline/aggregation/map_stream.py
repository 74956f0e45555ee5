"""Feature shards as batches of tensors on a device, filtered by image."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.feature_shards import KIND, read_features
from pipeline.contracts.manifest import load_manifest


def stream_maps(folder: Path, wanted: set[str], device: torch.device) -> Iterator[tuple[list[str], list[torch.Tensor]]]:
    """(image ids, one tensor (B, K, H, W) float32 per scale) of data/features/DATASET, batch by batch."""
    for path in load_manifest(folder, KIND).paths(folder):
        for batch in read_features(path):
            chosen = [index for index, image_id in enumerate(batch.image_ids) if image_id in wanted]
            if len(chosen) == len(batch.image_ids):
                yield batch.image_ids, [as_tensor(maps, device) for maps in batch.maps]
            elif chosen:
                yield [batch.image_ids[index] for index in chosen], [as_tensor(maps[chosen], device) for maps in batch.maps]


def as_tensor(maps: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Stored maps as float32 on a device."""
    return torch.from_numpy(np.array(maps)).to(device).float()
