"""Where the patch of a result lies that is nearest to the query, as a box of its image."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from pipeline.contracts.features.feature_parameters import ExtractParameters, PatchLayout
from pipeline.patches.geometry import patches_of
from pipeline.stage.catalogue import Box

Sizes = Mapping[str, tuple[float, float]]


class PatchBoxes:
    """The boxes of patches in shares of their images' sides.

    Args:
        extract: how the patches were made.
        sizes: width and height of images by id; squares of other images have no box.
    """

    def __init__(self, extract: ExtractParameters, sizes: Sizes) -> None:
        self._extract, self._sizes = extract, sizes

    def of(self, image_id: str, patch: int) -> Box | None:
        """Of one patch of an image."""
        size = (1.0, 1.0) if self._extract.patch_layout == "grid" else self._sizes.get(image_id)
        return _boxes(self._extract.patch_layout, *size, self._extract.patch_levels)[patch] if size else None


@lru_cache(maxsize=1024)
def _boxes(layout: PatchLayout, width: float, height: float, levels: int) -> list[Box]:
    sides = np.array([width, height] * 2)
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in (patches_of(layout, width, height, levels)[:, 1:].numpy() / sides).tolist()]
