"""The operations of a network by their paths in its module, as torchvision's feature extraction names them; without importing torchvision."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import fx, nn


class PathTracer(fx.Tracer):
    """Records each operation's path: that of its module, or of the module it lies in and its own name.

    A module that is called again has `_1`, `_2`, … at the end of its path.

    Attributes:
        paths: by the operation's name in the graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.paths: dict[str, str] = {}
        self._inside = ""
        self._calls: Counter[str] = Counter()

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before, self._inside = self._inside, self.path_of_module(m)
        try:
            if self.is_leaf_module(m, self._inside):
                return self.create_proxy("call_module", self._inside, args, kwargs)
            return forward(*args, **kwargs)
        finally:
            self._inside = before

    def create_proxy(self, kind: str, *args: Any, **kwargs: Any) -> Any:
        proxy = super().create_proxy(kind, *args, **kwargs)
        self.paths[str(proxy.node)] = self._path(kind, str(proxy.node))
        return proxy

    def _path(self, kind: str, name: str) -> str:
        if kind != "call_module":
            return f"{self._inside}.{name}" if self._inside else name
        calls = self._calls[self._inside]
        self._calls[self._inside] += 1
        return f"{self._inside}_{calls}" if calls else self._inside
