"""Input conventions: they belong to the weights, and a wrong one costs several points of mAP."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch


@dataclass(frozen=True)
class Preprocessing:
    """Pixels 0–255 to network input: (value · scale − mean) / std per channel, in RGB or BGR order."""

    order: str
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest value that it gives."""
        channels = list(zip(self.mean, self.std, strict=True))
        return min(-mean / std for mean, std in channels), max((255 * self.scale - mean) / std for mean, std in channels)

    def __call__(self, pixels: npt.NDArray[Any] | torch.Tensor, device: torch.device | str = "cpu") -> torch.Tensor:
        """(B, H, W, 3) uint8 RGB to (B, 3, H, W) float32, stored channels last."""
        batch = torch.as_tensor(pixels).to(device, non_blocking=True).permute(0, 3, 1, 2)
        if self.order == "BGR":
            batch = batch.flip(1)
        mean, std = (torch.tensor(values, device=batch.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        output = batch.to(torch.float32, memory_format=torch.channels_last)
        return output.mul_(self.scale / std).sub_(mean / std)


PREPROCESSINGS = {
    "torchvision": Preprocessing("RGB", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": Preprocessing("BGR", 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "tensorflow": Preprocessing("RGB", 1.0, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
}
