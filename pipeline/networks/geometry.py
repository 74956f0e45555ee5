"""Stride, receptive field and its first centre of a layer, computed by walking the network's graph (Araujo et al., Distill 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import fx, nn

from pipeline.stage.errors import ModelError

POINTWISE = (nn.ReLU, nn.ReLU6, nn.Identity, nn.BatchNorm2d, nn.Dropout, nn.SiLU)


@dataclass(frozen=True)
class Geometry:
    """In input pixels.

    Attributes:
        receptive_field: None where a cell may see the whole image.
        first: from the image's edge to the centre of the first cell's receptive field.
    """

    stride: int = 1
    receptive_field: int | None = 1
    first: float = 0.5

    def grown(self, pixels: int) -> int | None:
        """The receptive field with so many pixels more."""
        return None if self.receptive_field is None else self.receptive_field + pixels

    def pooled(self) -> "Geometry":
        """After pooling of 2×2 cells with stride 2."""
        return Geometry(self.stride * 2, self.grown(self.stride), self.first + self.stride / 2)


def geometry_of(graph: fx.Graph, root: nn.Module, layer: fx.Node) -> Geometry:
    """Geometry of one operation's output; where branches meet, the largest of them.

    Raises:
        ModelError: an operation on the way is neither local nor known.
    """
    modules = dict(root.named_modules())
    known: dict[fx.Node, Geometry] = {}
    for node in graph.nodes:
        before = [known[item] for item in node.all_input_nodes if item in known]
        start = largest(before) if before else Geometry()
        known[node] = _after(modules[str(node.target)], start, node) if node.op == "call_module" else start
        if node is layer:
            return known[node]
    raise ModelError(f"{layer} is not an operation of the network")


def largest(geometries: Sequence[Geometry]) -> Geometry:
    """Of maps that are joined, which are brought to the size of those with the largest stride."""
    coarsest = max(geometries, key=lambda item: item.stride)
    fields = [item.receptive_field for item in geometries]
    return replace(coarsest, receptive_field=None if None in fields else max(field for field in fields if field is not None))


def _after(module: nn.Module, before: Geometry, node: fx.Node) -> Geometry:
    if isinstance(module, nn.ZeroPad2d):
        return replace(before, first=before.first - module.padding[0] * before.stride)
    if isinstance(module, POINTWISE):
        return before
    if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        kernel, stride = _first(module.kernel_size), _first(module.stride)
        dilation = _first(getattr(module, "dilation", 1))
        reach = (kernel - 1) * dilation
        first = before.first + (reach / 2 - _first(module.padding)) * before.stride
        return Geometry(before.stride * stride, before.grown(reach * before.stride), first)
    raise ModelError(f"{node}: {type(module).__name__} is not a local operation; choose a layer before it")


def _first(value: int | str | tuple[int, ...]) -> int:
    return int(value[0] if isinstance(value, tuple) else value)
