"""Learned models and network weights: safetensors next to a JSON card that says what they are and what they were learned on."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pipeline.stage.checksums import verify
from pipeline.stage.errors import ModelError
from pipeline.stage.manifest import CARD, Facts
from pipeline.stage.tables import read_json, replacing, write_json

if TYPE_CHECKING:
    import torch

KIND, TENSORS = "model", "model.safetensors"
State = tuple[dict[str, "torch.Tensor"], dict[str, Any]]
"""Tensors by name, and a card of JSON values whose `kind` says what they are."""


class ModelFacts(Facts):
    """Of data/models/BENCHMARK."""

    method: str


class Learned:
    """What is learned, as `state` gives it and `from_state` takes it; subclasses only name their attributes.

    Attributes:
        arrays: attributes that are tensors.
        facts: attributes that are JSON values: arguments of the constructor, and learned numbers.
        parts: attributes that are learned themselves, with their classes.
    """

    arrays: ClassVar[tuple[str, ...]] = ()
    facts: ClassVar[tuple[str, ...]] = ()
    parts: ClassVar[Mapping[str, "type[Learned]"]] = {}

    def state(self) -> State:
        """Its tensors and its card; names lose their trailing underscore."""
        tensors = {_key(name): getattr(self, name) for name in self.arrays}
        card: dict[str, Any] = {"kind": type(self).__name__} | {_key(name): getattr(self, name) for name in self.facts}
        for name in self.parts:
            own, card[_key(name)] = getattr(self, name).state()
            tensors |= {f"{_key(name)}.{key}": value for key, value in own.items()}
        return tensors, card

    @classmethod
    def from_state(cls, tensors: Mapping[str, "torch.Tensor"], card: Mapping[str, Any]) -> Self:
        """The inverse of `state`.

        Raises:
            ModelError: the state of something else, or not all of it.
        """
        if card.get("kind") != cls.__name__:
            raise ModelError(f"the card says {card.get('kind')}, expected {cls.__name__}; run the learn stage again")
        model = cls.__new__(cls)
        try:
            own = {name: tensors[_key(name)] for name in cls.arrays} | {name: card[_key(name)] for name in cls.facts}
            parts = {name: kind.from_state(part_of(tensors, _key(name)), card[_key(name)]) for name, kind in cls.parts.items()}
        except KeyError as error:
            raise ModelError(f"a {cls.__name__} without {error.args[0]}; run the learn stage again") from None
        vars(model).update(own | parts)
        return model

    def save(self, path: Path, **about: Any) -> None:
        """Write to a folder; `about` goes into the card."""
        tensors, card = self.state()
        save_model(path, tensors, card | about)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read from a folder.

        Raises:
            ModelError: missing, damaged, or another kind of model.
        """
        return cls.from_state(*load_model(path))


def part_of(tensors: Mapping[str, "torch.Tensor"], name: str) -> dict[str, "torch.Tensor"]:
    """The tensors of one part, by the part's own names."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def _key(name: str) -> str:
    return name.rstrip("_")


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide numbers."""
    return {name: importlib.metadata.version(name) for name in ("torch", "numpy")}


def save_tensors(path: Path, tensors: Mapping[str, "torch.Tensor"]) -> None:
    """Write a safetensors file under a temporary name first."""
    with replacing(path) as partial:
        if tensors:
            from safetensors.torch import save_file

            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, partial)
        else:  # a method that learns nothing does without torch
            from safetensors.numpy import save_file as save_arrays

            save_arrays({}, partial)


def load_tensors(path: Path) -> dict[str, "torch.Tensor"]:
    """Read a safetensors file.

    Raises:
        ModelError: missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    verify(path)
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: not found; run the stage that makes it with `dvc repro`") from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})") from None


def save_model(folder: Path, tensors: Mapping[str, "torch.Tensor"], card: dict[str, Any]) -> None:
    """Write a model: its tensors, and its card with the tensors' shapes and the libraries' versions added."""
    save_tensors(folder / TENSORS, tensors)
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    write_json(folder / CARD, {**card, "shapes": shapes, "versions": library_versions()})


def load_model(folder: Path) -> State:
    """(tensors, card) of a model's folder.

    Raises:
        ModelError, ShardError: missing, damaged, or the shapes are not the card's.
    """
    card: dict[str, Any] = read_json(folder / CARD)
    tensors = load_tensors(folder / TENSORS)
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    if shapes != card["shapes"]:
        raise ModelError(f"{folder}: the tensors have shapes {shapes}, the card says {card['shapes']}; run the learn stage again")
    return tensors, card
