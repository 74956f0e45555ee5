"""Patches of images through a network: read off the response maps of a few scales, or cropped and fed one by one (paper 1, §4.1 and §5.3)."""

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.patches.geometry import level_scale, patches_of, windows_on_map
from pipeline.patches.pooling import spatial_max_pool
from pipeline.stage.catalogue import Box

GRID = 2
"""Cells per side that are stored. A describer that wants one cell per patch takes the maximum of the four: it is the patch's."""

SMALLEST = 2
"""Strides of a network in the shortest side that it is fed: networks without padding need more than one."""

Maps = Callable[[torch.Tensor], torch.Tensor]


def patch_features(
    maps_of: Maps, images: torch.Tensor, parameters: ExtractParameters, stride: int, at_once: int, box: Box | None = None
) -> torch.Tensor:
    """Every patch of images of one size, or of a box of them, described at equal area and pooled on a 2×2 grid.

    Args:
        maps_of: images (b, C, h, w) to maps (b, K, h', w').
        images: (B, C, H, W), preprocessed.
        stride: of the maps; no image is fed with a side below SMALLEST strides, so that the flattest patch has a cell.
        at_once: images of this size that are fed together; larger ones are fed in smaller numbers.
        box: in pixels, the same of all images. Patches lie in it, and what surrounds it is fed with it as context.

    Returns:
        (B, K·S, P, 4) for S sides: the channels of the first side, then of the next.
    """
    describe = {"response_maps": _from_maps, "crops": _from_crops}[parameters.patch_way]
    x0, y0, x1, y1 = box or (0, 0, images.shape[3], images.shape[2])
    patches = patches_of(parameters.patch_layout, x1 - x0, y1 - y0, parameters.patch_levels)
    patches[:, 1:] += torch.tensor([x0, y0, x0, y0])
    return torch.cat([describe(maps_of, images, patches, side, stride, at_once) for side in parameters.patch_sides], dim=1)


def _from_maps(maps_of: Maps, images: torch.Tensor, patches: torch.Tensor, side: int, stride: int, at_once: int) -> torch.Tensor:
    """One pass over the image per level, at the scale that brings the level's patches to side² pixels."""
    height, width = images.shape[2:]
    levels = []
    for level in range(1, int(patches[-1, 0]) + 1):
        boxes = patches[patches[:, 0] == level, 1:]
        pooled = []
        for scaled in _scaled(images, level_scale(patches, level, side), stride, at_once):
            maps = maps_of(scaled)
            windows = windows_on_map(boxes, width, height, maps.shape[2], maps.shape[3])
            pooled.append(spatial_max_pool(maps, windows, GRID))
        levels.append(torch.cat(pooled))
    return _as_maps(torch.cat(levels, dim=1))


def _from_crops(maps_of: Maps, images: torch.Tensor, patches: torch.Tensor, side: int, stride: int, at_once: int) -> torch.Tensor:
    """One pass per patch, cut out at whole pixels without its context and brought to side² pixels."""
    columns = []
    for x0, y0, x1, y1 in (patches[:, 1:] + 0.5).floor().to(torch.int64).tolist():
        crop = images[:, :, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        pooled = []
        for scaled in _scaled(crop, side / math.sqrt(crop.shape[2] * crop.shape[3]), stride, at_once):
            maps = maps_of(scaled)
            pooled.append(spatial_max_pool(maps, torch.tensor([[0, 0, *maps.shape[2:]]]), GRID))
        columns.append(torch.cat(pooled))
    return _as_maps(torch.cat(columns, dim=1))


def _scaled(images: torch.Tensor, scale: float, stride: int, at_once: int) -> list[torch.Tensor]:
    """The images at a scale, in parts of about equal numbers of pixels."""
    shape = [max(SMALLEST * stride, round(length * scale)) for length in images.shape[2:]]
    parts = images.split(max(1, int(at_once / max(scale, 1.0) ** 2)))
    return [resize_images(part, shape[0], shape[1]) for part in parts]


def resize_images(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, C, H, W) to (B, C, height, width), bilinear and antialiased."""
    if images.shape[2:] == (height, width):
        return images
    resized: torch.Tensor = F.interpolate(images, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return resized


def _as_maps(pooled: torch.Tensor) -> torch.Tensor:
    """(B, P, K·g²) to (B, K, P, g²)."""
    return pooled.reshape(*pooled.shape[:2], -1, GRID * GRID).transpose(1, 2)
