"""Selected local features of feature maps: masks applied, images packed one after the other, a sample of bounded length for learning."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from pipeline.aggregation.masks import mask_of_points, max_mask, sift_points, sum_mask
from pipeline.contracts.running.settings import settings
from pipeline.maps.pictures import Picture

MASKS = ("max", "sum", "sift", "none")


def select_locations(mask: str, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
    """The locations that a mask keeps; none where the map is zero everywhere, all where a picture has no key point.

    Args:
        mask: one of MASKS.
        maps: (B, K, H, W).
        pictures: B of them, for `sift`.

    Returns:
        (B, H, W) bool.
    """
    match mask:
        case "max":
            return max_mask(maps)
        case "sum":
            kept = sum_mask(maps)
        case "sift":
            with ThreadPoolExecutor(settings().threads) as pool:
                found = list(pool.map(lambda picture: _at_key_points(picture, *maps.shape[-2:]), pictures))
            kept = torch.stack(found).to(maps.device)
        case "none":
            kept = torch.ones_like(maps[:, 0], dtype=torch.bool)
        case _:
            raise ValueError(f"mask {mask!r} is unknown; there are: {', '.join(MASKS)}")
    return kept & (maps != 0).flatten(1).any(dim=1)[:, None, None]


def _at_key_points(picture: Picture, height: int, width: int) -> torch.Tensor:
    pixels = picture.pixels
    mask = mask_of_points(sift_points(pixels), picture.shown(pixels, height, width), height, width)
    return mask if mask.any() else ~mask


def pack(maps: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """The local features (N, K) at the mask's locations, image after image in row order, and how many each image has."""
    return maps.movedim(1, -1)[mask], mask.flatten(1).sum(dim=1).tolist()


def chunks(counts: Sequence[int], limit: int) -> Iterator[slice]:
    """Consecutive images whose features, padded to the longest among them, are at most `limit` (one image at least)."""
    first, longest = 0, 0
    for index, count in enumerate(counts):
        longest = max(longest, count)
        if index > first and longest * (index + 1 - first) > limit:
            yield slice(first, index)
            first, longest = index, count
    if counts:
        yield slice(first, len(counts))


def sample(batches: Callable[[], Iterator[torch.Tensor]], total: int, limit: int | None, seed: int) -> torch.Tensor:
    """At most `limit` of the `total` features that the batches hold, drawn evenly without replacement; the order of the stream is kept."""
    if limit is None or total <= limit:
        return torch.cat(list(batches()))
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:limit].sort().values
    parts, offset = [], 0
    for features in batches():
        first, last = torch.searchsorted(chosen, torch.tensor([offset, offset + len(features)])).tolist()
        parts.append(features[(chosen[first:last] - offset).to(features.device)])
        offset += len(features)
    return torch.cat(parts)
