"""Feature shards as batches of tensors on a device, filtered by image."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.features.feature_shards import KIND, FeatureBatch, read_features
from pipeline.contracts.features.patches import PatchForm
from pipeline.contracts.images.cells import Grid
from pipeline.contracts.images.image_shards import KIND as IMAGES
from pipeline.maps.pictures import Picture, PictureReader
from pipeline.stage.errors import SanityError
from pipeline.stage.manifest import load_manifest


@dataclass(frozen=True)
class MapBatch:
    """Images with maps of equal size.

    Attributes:
        scales: one tensor (B, K, H, W) float32 per scale.
        pictures: B of them, where the describer needs pictures; else none.
        grids: where the cells of each scale's maps look.
        patches: the form of patches (B, K, P, g²) instead of maps.
        image_size: width and height in pixels of every image.
        instances: what each image shows, where that is known and learned from; None where it is not known.
    """

    scales: Sequence[torch.Tensor]
    pictures: Sequence[Picture] = ()
    grids: Sequence[Grid] = ()
    patches: PatchForm | None = None
    image_size: tuple[int, int] = (1, 1)
    instances: Sequence[str | None] = ()

    def with_pictures(self) -> Iterator[tuple[torch.Tensor, list[Picture]]]:
        """Each scale's maps and the pictures behind them."""
        for index, maps in enumerate(self.scales):
            yield maps, [picture.at(self.grids[index]) for picture in self.pictures] if self.grids else list(self.pictures)


MapStream = Callable[[], Iterator[MapBatch]]
"""Starts a fresh pass over maps, the same batches each time."""


def stream_maps(folder: Path, wanted: Set[str], device: torch.device, images: Path | None = None) -> Iterator[tuple[list[str], MapBatch]]:
    """(image ids, maps) of data/features/DATASET, batch by batch; see `stream_shards`.

    Args:
        images: data/images/DATASET, to add the pictures.
    """
    reader = PictureReader(load_manifest(images, IMAGES).paths(images)) if images else None
    return stream_shards(load_manifest(folder, KIND).paths(folder), wanted, device, reader)


def stream_shards(
    shards: Iterable[Path], wanted: Set[str], device: torch.device, reader: PictureReader | None
) -> Iterator[tuple[list[str], MapBatch]]:
    """(image ids, maps) of feature shards, batch by batch.

    Args:
        reader: adds the pictures.

    Raises:
        SanityError: a map that is not finite, by its image.
    """
    for path in shards:
        for batch in read_features(path):
            chosen = [index for index, image_id in enumerate(batch.image_ids) if image_id in wanted]
            if chosen:
                whole = len(chosen) == len(batch.image_ids)
                ids = batch.image_ids if whole else [batch.image_ids[index] for index in chosen]
                scales = [as_tensor(maps if whole else maps[chosen], device) for maps in batch.maps]
                _refuse_broken(ids, scales, path)
                yield ids, map_batch(batch, scales, reader.pictures(ids) if reader else ())


def map_batch(features: FeatureBatch, scales: Sequence[torch.Tensor], pictures: Sequence[Picture]) -> MapBatch:
    """A feature batch's maps as tensors, with what it says of them."""
    grids = [features.grid.at(scale) for scale in features.scales]
    return MapBatch(scales, pictures, grids, features.patches, (features.width, features.height))


def as_tensor(maps: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Stored maps as float32 on a device."""
    return torch.from_numpy(np.array(maps)).to(device).float()


def _refuse_broken(image_ids: list[str], scales: list[torch.Tensor], path: Path) -> None:
    for maps in scales:
        finite = torch.isfinite(maps.sum(dim=(1, 2, 3)))
        if not finite.all():
            broken = image_ids[int((~finite).nonzero()[0])]
            raise SanityError(f"{path}: the feature map of {broken} is not finite; look at its image, at the weights and at extract.precision")
