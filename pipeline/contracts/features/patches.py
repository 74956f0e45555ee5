"""Patches instead of maps and descriptors: how many an image has, and in which form shards hold them."""

from dataclasses import dataclass


def patch_count(levels: int) -> int:
    """Patches of levels 1 to L, l² at level l: 1, 5, 14, 30, …"""
    return levels * (levels + 1) * (2 * levels + 1) // 6


@dataclass(frozen=True)
class PatchForm:
    """Each map (K, P, g²) of a feature shard holds the P patches of an image, max-pooled on a g×g grid of cells.

    Attributes:
        levels: the patches are those of levels 1 to this one, in the order of `patches_of`.
        grid: g; the maximum over the cells is that of the whole patch.
        parts: channels of each layer, network and patch area that are concatenated to K.
    """

    levels: int
    grid: int
    parts: tuple[int, ...]
