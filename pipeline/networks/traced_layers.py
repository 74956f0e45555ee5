"""The layers of a network that torch.fx can trace: their maps as modules cut out of its graph, their geometry read off it."""

from collections.abc import Mapping, Sequence

from torch import fx, nn

from pipeline.networks.folding import fold_batch_norm
from pipeline.networks.geometry import Geometry, geometry_of
from pipeline.networks.tracing import PathTracer
from pipeline.stage.errors import ModelError


class TracedLayers:
    """The layers of a module.

    Args:
        module: in evaluation mode.
        names: of the field to names in the module ('conv5_3' to '29'); a container's name means its last operation.
    """

    def __init__(self, module: nn.Module, names: Mapping[str, str]) -> None:
        tracer = PathTracer()
        self._graph, self._root, self._paths = tracer.trace(module), module, tracer.paths
        self._names = names

    @property
    def names(self) -> tuple[str, ...]:
        """The field's names; any name of an operation in the module will do besides."""
        return tuple(self._names)

    def geometry(self, layer: str) -> Geometry:
        """Of a layer's cells.

        Raises:
            ModelError: unknown layer, or one that is not local.
        """
        return geometry_of(self._graph, self._root, self._node(layer))

    def before(self, layer: str) -> list[fx.Node]:
        """The operations up to a layer."""
        nodes = list(self._graph.nodes)
        return nodes[: nodes.index(self._node(layer)) + 1]

    def module(self, layers: Sequence[str]) -> nn.Module:
        """A module from images (B, 3, H, W) to the maps of each layer; batch-norm is folded into its convolutions.

        Raises:
            ModelError: unknown layer.
        """
        nodes = [str(self._node(layer)) for layer in layers]
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        graph.graph_copy(self._graph, copies)
        by_name = {str(old): new for old, new in copies.items()}
        graph.output([by_name[name] for name in nodes])
        module = fx.GraphModule(self._root, graph).eval()
        module.graph.eliminate_dead_code()
        return fold_batch_norm(module)

    def _node(self, layer: str) -> fx.Node:
        """The last operation of a layer, a container or an operation by its name in the module."""
        path = self._names.get(layer, layer)
        found = [node for node in self._graph.nodes if self._path(node) == path or self._path(node).startswith(path + ".")]
        if not found:
            raise ModelError(f"layer {layer!r} is unknown; there are: {', '.join(self._names)}")
        last: fx.Node = found[-1]
        return last

    def _path(self, node: fx.Node) -> str:
        return str(self._paths.get(str(node), node))
