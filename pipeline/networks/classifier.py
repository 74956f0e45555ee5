"""The classifier of a network as convolutions: its scores at every place that the input window fits (Long et al., 2015; paper 4, §3.4.1)."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.stage.errors import ModelError

Parts = OrderedDict[str, nn.Module]


class WindowMean(nn.Module):
    """Mean over every window of `cells`² cells; over the whole of a map that is smaller."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H − cells + 1, W − cells + 1)."""
        return F.avg_pool2d(maps, (min(self.cells, maps.shape[-2]), min(self.cells, maps.shape[-1])), stride=1)


class WholeWindow(nn.Module):
    """A map that is smaller than the window is stretched to it, as torchvision's classifiers do."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, K, H, W), at least `cells` each way."""
        height, width = maps.shape[-2:]
        if min(height, width) >= self.cells:
            return maps
        return F.adaptive_avg_pool2d(maps, (max(height, self.cells), max(width, self.cells)))


@dataclass(frozen=True)
class ClassifierForm:
    """How an architecture classifies.

    Attributes:
        window: side, in cells of the map, of what the classifier sees of an image of `side` pixels.
        output: the key of the layer that gives the scores.
        build: makes the layers for a number of classes; their keys are the published ones, less `prefix`.
        prefix: what the published keys start with.
        side: pixels of the square images that the classifier was published for.
        hidden: keys of the ReLUs after its fully connected layers, by the field's names.
    """

    window: int
    output: str
    build: Callable[[int], Parts]
    prefix: str = ""
    side: int = 224
    hidden: Mapping[str, str] = field(default_factory=dict)


class Classifier(nn.Sequential):
    """(B, K, H, W) maps to (B, C, H', W') class scores, one location per window; equal to the published classifier on one window."""

    def __init__(self, form: ClassifierForm, classes: int) -> None:
        super().__init__(form.build(classes))
        self.form, self.classes = form, classes

    def layer(self, maps: torch.Tensor, name: str) -> torch.Tensor:
        """Activations (B, D, H', W') of a fully connected layer after its ReLU, one location per window.

        Raises:
            ModelError: the classifier has no such layer.
        """
        if name not in self.form.hidden:
            raise ModelError(f"the classifier has no layer {name!r}; there are: {', '.join(('scores', *self.form.hidden))}")
        for key, module in self.named_children():
            maps = module(maps)
            if key == self.form.hidden[name]:
                break
        return maps

    def width(self, name: str) -> int:
        """D of a fully connected layer: the outputs of the last convolution up to its ReLU."""
        widths = 0
        for key, module in self.named_children():
            widths = module.out_channels if isinstance(module, nn.Conv2d) else widths
            if key == self.form.hidden[name]:
                break
        return widths

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take over weights; those of fully connected layers are taken as convolutions.

        Raises:
            ModelError: weights of another classifier.
        """
        expected = self.state_dict()
        for key, own in expected.items():
            if key not in tensors or tensors[key].numel() != own.numel():
                found = tuple(tensors[key].shape) if key in tensors else "missing"
                raise ModelError(f"the weights are not those of this classifier: {key} is {found}, expected {tuple(own.shape)}")
        self.load_state_dict({key: tensors[key].to(own.dtype).reshape(own.shape) for key, own in expected.items()}, assign=True)


def classes_of(form: ClassifierForm, tensors: dict[str, torch.Tensor]) -> int:
    """How many classes weights are for.

    Raises:
        ModelError: the layer that gives the scores is missing.
    """
    bias = tensors.get(f"{form.output}.bias")
    if bias is None:
        raise ModelError(f"the weights hold no classifier: {form.output}.bias is missing")
    return len(bias)


def published(form: ClassifierForm, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The classifier's part of published weights, by its own keys; empty where they hold none."""
    own = {key.removeprefix(form.prefix): value for key, value in tensors.items() if key.startswith(form.prefix)}
    with torch.device("meta"):
        wanted = Classifier(form, 1).state_dict()
    return {key: own[key].contiguous() for key in wanted} if wanted.keys() <= own.keys() else {}


def pooled_classifier(name: str, channels: int, window: int = 7, dropout: float = 0.0) -> Callable[[int], Parts]:
    """One layer over the mean of the window; the layer goes first, since both are linear and there are fewer classes than channels.

    Args:
        dropout: share of the channels that training leaves out, as the published classifier does.
    """
    before = {"drop": nn.Dropout2d(dropout)} if dropout else {}
    return lambda classes: Parts(before | {name: nn.Conv2d(channels, classes, 1), "mean": WindowMean(window)})


def two_hidden_layers(channels: int, window: int, hidden: int, drop_first: bool) -> Callable[[int], Parts]:
    """The three layers of AlexNet (dropout before each hidden one) and VGG (after), keyed as torchvision's."""

    def build(classes: int) -> Parts:
        first, second = nn.Conv2d(channels, hidden, window), nn.Conv2d(hidden, hidden, 1)
        output = nn.Conv2d(hidden, classes, 1)
        if drop_first:
            layers = [nn.Dropout2d(), first, nn.ReLU(), nn.Dropout2d(), second, nn.ReLU(), output]
        else:
            layers = [first, nn.ReLU(), nn.Dropout2d(), second, nn.ReLU(), nn.Dropout2d(), output]
        return Parts({"window": WholeWindow(window)} | {str(index): layer for index, layer in enumerate(layers)})

    return build
