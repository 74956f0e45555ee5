"""Several networks as one: each sees the images by its own input convention, and their maps are concatenated (paper 1, §6)."""

from collections.abc import Sequence
from typing import Any, Self

import numpy.typing as npt
import torch

from pipeline.networks.geometry import Geometry, largest
from pipeline.networks.network import Network, concatenate
from pipeline.stage.errors import ModelError


class ConcatenatedNetwork:
    """Networks side by side, used as a Network is.

    Attributes:
        stride, receptive_field: the largest of the members'.
        first_centre: of the member with the largest stride, whose maps the others are brought to.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        self.members = tuple(members)
        geometry = largest([Geometry(member.stride, member.receptive_field, member.first_centre) for member in self.members])
        self.stride, self.receptive_field, self.first_centre = geometry.stride, geometry.receptive_field, geometry.first

    @property
    def parts(self) -> tuple[int, ...]:
        """Channels of each layer of each member."""
        return tuple(channels for member in self.members for channels in member.parts)

    @property
    def channels(self) -> int:
        """K of the maps."""
        return sum(self.parts)

    def to(self, device: torch.device) -> Self:
        """Move to a device."""
        for member in self.members:
            member.to(device)
        return self

    def preprocess(self, pixels: npt.NDArray[Any] | torch.Tensor, device: torch.device | str = "cpu") -> torch.Tensor:
        """(B, H, W, 3) uint8 RGB to (B, 3·M, H, W) float32: three channels for each member."""
        return torch.cat([member.preprocess(pixels, device) for member in self.members], dim=1)

    def feature_maps(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, 3·M, H, W), preprocessed, to (B, Σ K, H', W'), max-pooled to the smallest maps of a member.

        Raises:
            ModelError: images smaller than a member needs.
        """
        if batch.shape[1] != 3 * len(self.members):
            raise ModelError(f"{len(self.members)} networks need {3 * len(self.members)} input channels, got {batch.shape[1]}")
        inputs = batch.split(3, dim=1)
        return concatenate([member.feature_maps(own) for member, own in zip(self.members, inputs, strict=True)])
