"""Which local features of a map are kept: MAX, SUM and SIFT masks (paper 3, §III-B)."""

import cv2
import numpy as np
import numpy.typing as npt
import torch

from pipeline.maps.pictures import Pixels
from pipeline.stage.catalogue import Box


def max_mask(maps: torch.Tensor) -> torch.Tensor:
    """The locations where some channel has its maximum (equation 2).

    Args:
        maps: (…, K, H, W). A channel that is zero everywhere selects nothing; of equal maxima the first in row order counts.

    Returns:
        (…, H, W) bool.
    """
    flat = maps.flatten(-2)
    votes = torch.zeros_like(flat[..., 0, :])
    votes.scatter_add_(-1, flat.argmax(dim=-1), (flat != 0).any(dim=-1).to(flat.dtype))
    return (votes > 0).reshape(*maps.shape[:-3], *maps.shape[-2:])


def sum_mask(maps: torch.Tensor) -> torch.Tensor:
    """The locations whose sum over the channels is at least the median of all locations (equation 3).

    Args:
        maps: (…, K, H, W).

    Returns:
        (…, H, W) bool; of an even number of locations the median is the mean of the two middle sums.
    """
    sums = maps.sum(dim=-3, dtype=torch.float64).flatten(-2)
    ordered = sums.sort(dim=-1).values
    count = sums.shape[-1]
    median = (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2
    return (sums >= median[..., None]).reshape(*maps.shape[:-3], *maps.shape[-2:])


def sift_points(image: Pixels) -> npt.NDArray[np.float32]:
    """SIFT key points (n, 2) as x, y in pixels of an RGB image (H, W, 3) uint8."""
    points = cv2.SIFT.create().detect(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    return np.array([point.pt for point in points], np.float32).reshape(-1, 2)


def mask_of_points(points: npt.NDArray[np.float32], box: Box, height: int, width: int) -> torch.Tensor:
    """The locations of an H×W map of a box of the image where points (n, 2) lie: scaled to the map, rounded, clamped (equation 1).

    The equation counts pixels and locations from 1, so 1 is added to a point before it is scaled and taken off the rounded location.

    Args:
        points: x, y in pixels, counted from 0.
        box: x0, y0, x1, y1 in pixels; points outside are left out.
    """
    x0, y0, x1, y1 = box
    inside = points[(points[:, 0] >= x0) & (points[:, 0] < x1) & (points[:, 1] >= y0) & (points[:, 1] < y1)].astype(np.float64)
    counted = np.floor((inside - (x0, y0) + 1) * (width / (x1 - x0), height / (y1 - y0)) + 0.5)
    columns, rows = (counted - 1).clip(0, (width - 1, height - 1)).astype(np.int64).T
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[torch.from_numpy(rows), torch.from_numpy(columns)] = True
    return mask


def sift_mask(image: Pixels, height: int, width: int) -> torch.Tensor:
    """The locations of an H×W map where the image has SIFT key points (equation 1).

    Args:
        image: (rows, columns, 3) uint8 RGB, as it was fed to the network.

    Returns:
        (H, W) bool on the processor; nothing is selected where there are no key points.
    """
    rows, columns = image.shape[:2]
    return mask_of_points(sift_points(image), (0, 0, columns, rows), height, width)
