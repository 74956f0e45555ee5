"""The descriptor of an image from its regions of highest class activation: l2, shift and fully connected, sum, l2 (paper 4, §3.4.2)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.contracts.models import State
from pipeline.networks.classifier import WholeWindow
from pipeline.stage.errors import ModelError

Content = Literal["mean", "max", "flattened"]


@dataclass(frozen=True)
class RegionForm:
    """Which regions a descriptor is made of.

    Attributes:
        window: cells on a side of a region, those of the classifier.
        regions: k, the windows of highest maximal class activation; None for the whole map as one region (§3.2.2).
        content: of a region: the mean or the maximum of each channel, or all of its cells (as published, 50 times the weights).
    """

    window: int
    regions: int | None
    content: Content

    def length(self, channels: int) -> int:
        """Of a region's vector."""
        return channels * {"flattened": self.window**2, "mean": 1, "max": 1}[self.content]


class RegionHead(nn.Module):
    """Maps and class scores to descriptors.

    Args:
        channels: K of the maps.
        dimensions: D of the descriptors.
    """

    def __init__(self, form: RegionForm, channels: int, dimensions: int) -> None:
        super().__init__()
        self.form, self.channels = form, channels
        self.shift = nn.Parameter(torch.zeros(form.length(channels)))
        self.weight = nn.Parameter(torch.zeros(dimensions, form.length(channels)))
        self.bias = nn.Parameter(torch.zeros(dimensions))

    def forward(self, maps: torch.Tensor, scores: torch.Tensor | None) -> torch.Tensor:
        """Maps (B, K, H, W) and class scores (B, C, H', W') of their windows to (B, D), l2-normalised; scores are not needed for the whole map."""
        projected = F.linear(self.regions(maps, scores) + self.shift, self.weight, self.bias)
        return F.normalize(projected.sum(dim=1), dim=1)

    def regions(self, maps: torch.Tensor, scores: torch.Tensor | None) -> torch.Tensor:
        """(B, k, length): the l2-normalised vector of each region."""
        if self.form.regions is None or scores is None:
            return F.normalize(whole_map(maps, self.form).unsqueeze(1), dim=2)
        places = top_windows(scores, self.form.regions)
        return F.normalize(window_vectors(maps, places, scores.shape[-1], self.form), dim=2)

    def draw(self, seed: int) -> None:
        """No shift, and a fully connected layer with random weights and bias within ±1/√length, as the framework starts one."""
        generator = torch.Generator().manual_seed(seed)
        bound = self.weight.shape[1] ** -0.5
        with torch.no_grad():
            self.shift.zero_()
            for parameter in (self.weight, self.bias):
                drawn = torch.rand(parameter.shape, generator=generator) * 2 - 1
                parameter.copy_(drawn * bound)

    def state(self) -> State:
        """Its tensors and its card, as contracts.models.Learned gives them."""
        card = {"kind": type(self).__name__, "channels": self.channels, "form": asdict(self.form)}
        return {name: parameter.detach() for name, parameter in self.named_parameters()}, card

    @classmethod
    def from_state(cls, tensors: Mapping[str, torch.Tensor], card: Mapping[str, Any]) -> Self:
        """The inverse of `state`.

        Raises:
            ModelError: tensors of another form.
        """
        form = RegionForm(**card["form"])
        with torch.device("meta"):
            head = cls(form, card["channels"], len(tensors["weight"]))
        for name, expected in head.named_parameters():
            found = tuple(tensors[name].shape) if name in tensors else "missing"
            if found != tuple(expected.shape):
                raise ModelError(f"the region head's {name} is {found}, its card says {tuple(expected.shape)}")
        head.load_state_dict(dict(tensors), assign=True)
        return head.requires_grad_(False)


def top_windows(scores: torch.Tensor, count: int) -> torch.Tensor:
    """(B, k) places, row by row, of the highest maximal class activations of (B, C, H', W'); fewer where there are not as many windows."""
    maximal = scores.detach().amax(dim=1).flatten(1)
    return maximal.topk(min(count, maximal.shape[1]), dim=1).indices


def window_vectors(maps: torch.Tensor, places: torch.Tensor, columns: int, form: RegionForm) -> torch.Tensor:
    """(B, k, length): the content of the windows at (B, k) places of a grid with this many columns."""
    if form.content == "flattened":
        maps = WholeWindow(form.window)(maps)
    cells = min(form.window, maps.shape[-2]), min(form.window, maps.shape[-1])
    if form.content != "flattened":
        pool: Any = {"mean": F.avg_pool2d, "max": F.max_pool2d}[form.content]
        pooled: torch.Tensor = pool(maps, cells, stride=1).flatten(2)
        return pooled.gather(2, places.unsqueeze(1).expand(-1, maps.shape[1], -1)).mT
    windows = maps.unfold(2, cells[0], 1).unfold(3, cells[1], 1)
    images = torch.arange(len(maps), device=maps.device).unsqueeze(1)
    return windows[images, :, places // columns, places % columns].flatten(2)


def whole_map(maps: torch.Tensor, form: RegionForm) -> torch.Tensor:
    """(B, length): the content of the whole map as one region; what is flattened is brought to the window first."""
    match form.content:
        case "flattened":
            return F.adaptive_avg_pool2d(maps, form.window).flatten(1)
        case "mean":
            return maps.mean(dim=(2, 3))
        case "max":
            return maps.amax(dim=(2, 3))
        case _:
            raise ValueError(f"content {form.content!r} of a region is unknown; there are: flattened, mean, max")
