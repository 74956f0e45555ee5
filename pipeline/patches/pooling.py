"""Spatial max-pooling of windows of feature maps on a grid of a fixed number of cells (paper 1, §3.2)."""

import torch


def spatial_max_pool(maps: torch.Tensor, windows: torch.Tensor, grid: int) -> torch.Tensor:
    """The maxima of g×g cells of every window.

    The cells of a side of n locations start at ⌊i·n/g⌋ and end before ⌈(i+1)·n/g⌉: together they are the window, no row or
    column is lost, and a window of fewer than g locations repeats some. So the maximum over the cells is the window's.

    Args:
        maps: (K, H, W) or (B, K, H, W).
        windows: (n, 4) int: y, x, height, width, inside the map.
        grid: g.

    Returns:
        (n, K·g²) or (B, n, K·g²): of each channel its g² cells, row by row.
    """
    if maps.dim() == 3:
        return spatial_max_pool(maps[None], windows, grid)[0]
    pooled = maps.new_empty(len(maps), len(windows), maps.shape[1], grid * grid)
    for index, (y, x, height, width) in enumerate(windows.tolist()):
        window = maps[:, :, y : y + height, x : x + width]
        for cell in range(grid * grid):
            rows, columns = _cell(cell // grid, height, grid), _cell(cell % grid, width, grid)
            pooled[:, index, :, cell] = window[:, :, rows, columns].amax(dim=(2, 3))
    return pooled.flatten(2)


def _cell(index: int, length: int, grid: int) -> slice:
    return slice(index * length // grid, -(-(index + 1) * length // grid))
