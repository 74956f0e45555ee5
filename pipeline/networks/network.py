"""A network as a function from images to the feature maps of named layers, with their stride and receptive field."""

import functools
from collections.abc import Sequence
from typing import Protocol, Self

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.networks.geometry import Geometry, largest
from pipeline.networks.preprocessing import Preprocessing
from pipeline.stage.errors import ModelError

OVERSHOOT = 0.5
"""Of the range of preprocessed values, that resized ones may exceed it by."""


class LayerMaps(Protocol):
    """The layers of a network."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all layers, from the input to the output."""

    def geometry(self, layer: str) -> Geometry:
        """Of a layer's cells."""

    def module(self, layers: Sequence[str]) -> nn.Module:
        """A module from images (B, 3, H, W) to a list of the maps (B, K, H', W') of layers."""


class Network:
    """Feature maps of a network.

    Attributes:
        layers: whose outputs `feature_maps` gives by default.
        preprocess: (B, H, W, 3) uint8 RGB to (B, 3, H, W) float32.
        stride: input pixels per feature-map cell.
        receptive_field: input pixels that one cell sees; None where it may see the whole image.
        first_centre: of the first cell's receptive field, in input pixels from the edge.
    """

    def __init__(self, source: LayerMaps, layers: Sequence[str], preprocess: Preprocessing, pooled: bool = False) -> None:
        self._source = source
        self._modules: dict[tuple[str, ...], nn.Module] = {}
        self._device, self._pooled = torch.device("cpu"), pooled
        self.preprocess = preprocess
        self.layers = tuple(layers)
        geometry = largest([source.geometry(layer) for layer in self.layers])
        if pooled:
            geometry = geometry.pooled()
        self.stride, self.receptive_field, self.first_centre = geometry.stride, geometry.receptive_field, geometry.first

    @functools.cached_property
    def parts(self) -> tuple[int, ...]:
        """Channels of each default layer; their maps stand in this order in `feature_maps`."""
        with torch.no_grad():  # not inference mode: the module that is made here is used outside it
            side = max(64, 4 * self.stride)
            maps = self._module(self.layers)(torch.zeros(1, 3, side, side, device=self._device))
        return tuple(int(item.shape[1]) for item in maps)

    def geometry(self, layer: str) -> Geometry:
        """Of a layer's cells.

        Raises:
            ModelError: unknown layer.
        """
        return self._source.geometry(layer)

    @property
    def channels(self) -> int:
        """K of the default layers' maps."""
        return sum(self.parts)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The field's names; any name of an operation in the module will do besides."""
        return self._source.names

    def to(self, device: torch.device) -> Self:
        """Move to a device."""
        self._device = device
        for module in self._modules.values():
            module.to(device)
        return self

    def feature_maps(self, batch: torch.Tensor, layers: Sequence[str] | None = None) -> torch.Tensor:
        """Maps of the layers, concatenated along the channels; layers of several sizes are max-pooled to the smallest.

        Args:
            batch: (B, 3, H, W) float32, preprocessed.

        Returns:
            (B, K, H', W').

        Raises:
            ModelError: unknown layer, images smaller than the network needs, or values that `preprocess` does not give.
        """
        self._refuse_other_values(batch)
        try:
            maps: list[torch.Tensor] = self._module(tuple(layers or self.layers))(batch)
            if self._pooled:
                maps = [F.max_pool2d(item, 2, 2) for item in maps]
        except RuntimeError as error:
            if "too small" in str(error) or "Kernel size" in str(error):
                raise ModelError(
                    f"images of {batch.shape[3]}×{batch.shape[2]} pixels are too small for layers {', '.join(layers or self.layers)}"
                ) from None
            raise
        return concatenate(maps)

    def _refuse_other_values(self, batch: torch.Tensor) -> None:
        """Refuse pixels that were not preprocessed. Filters that resize preprocessed images overshoot a little, and pass."""
        low, high = self.preprocess.range
        slack = OVERSHOOT * (high - low)
        least, most = (float(value) for value in batch.detach().aminmax()) if batch.numel() else (low, high)
        if batch.dtype != torch.float32 or least < low - slack or most > high + slack:
            raise ModelError(
                f"{str(batch.dtype).removeprefix('torch.')} input with values from {least:g} to {most:g}: the network takes float32 from {low:.4g} "
                f"to {high:.4g}; give it `network.preprocess(pixels)`"
            )

    def _module(self, layers: tuple[str, ...]) -> nn.Module:
        if layers not in self._modules:
            self._modules[layers] = self._source.module(layers).to(self._device).to(memory_format=torch.channels_last)
        return self._modules[layers]


def concatenate(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Maps (B, K_i, H_i, W_i) of the same images as one (B, Σ K_i, H, W), max-pooled to the smallest of them."""
    if len(maps) == 1:
        return maps[0]
    size = min(item.shape[-2] for item in maps), min(item.shape[-1] for item in maps)
    return torch.cat([item if item.shape[-2:] == size else F.adaptive_max_pool2d(item, size) for item in maps], dim=1)
