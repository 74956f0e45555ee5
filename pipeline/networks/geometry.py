"""Stride and receptive field of a layer, computed by walking the network's graph (Araujo et al., Distill 2019)."""

from dataclasses import dataclass

from torch import fx, nn

from pipeline.stage.errors import ModelError

POINTWISE = (nn.ReLU, nn.ReLU6, nn.Identity, nn.BatchNorm2d, nn.Dropout, nn.ZeroPad2d, nn.SiLU)


@dataclass(frozen=True)
class Geometry:
    """In input pixels."""

    stride: int
    receptive_field: int


def geometry_of(graph: fx.Graph, root: nn.Module, layer: fx.Node) -> Geometry:
    """Geometry of one operation's output; where branches meet, the largest of them.

    Raises:
        ModelError: an operation on the way is neither local nor known.
    """
    modules = dict(root.named_modules())
    known: dict[fx.Node, Geometry] = {}
    for node in graph.nodes:
        before = [known[item] for item in node.all_input_nodes if item in known]
        start = Geometry(max((item.stride for item in before), default=1), max((item.receptive_field for item in before), default=1))
        known[node] = _after(modules[str(node.target)], start, node) if node.op == "call_module" else start
        if node is layer:
            return known[node]
    raise ModelError(f"{layer} is not an operation of the network")


def _after(module: nn.Module, before: Geometry, node: fx.Node) -> Geometry:
    if isinstance(module, POINTWISE):
        return before
    if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        kernel, stride = _first(module.kernel_size), _first(module.stride)
        dilation = _first(getattr(module, "dilation", 1))
        return Geometry(before.stride * stride, before.receptive_field + (kernel - 1) * dilation * before.stride)
    raise ModelError(f"{node}: {type(module).__name__} is not a local operation; choose a layer before it")


def _first(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else int(value[0])
