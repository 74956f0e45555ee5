"""What a table of a room names by `module:Name`, imported when it is asked for, so that what is not in use costs no import."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Named(Mapping[str, T], Generic[T]):
    """A mapping from names to what `module:Name` stands for inside a package."""

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._package, self._places = package, places

    def __getitem__(self, name: str) -> T:
        module, _, attribute = self._places[name].partition(":")
        found: Any = getattr(import_module(f"{self._package}.{module}"), attribute)
        loaded: T = found
        return loaded

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places
