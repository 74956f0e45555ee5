"""Learned models and network weights: safetensors beside a JSON card that says what they are and what they were learned on."""

import importlib.metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipeline.contracts.errors import ModelError
from pipeline.contracts.manifest import CARD
from pipeline.contracts.tables import read_json, replacing, write_json

TENSORS = "model.safetensors"


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide numbers."""
    return {name: importlib.metadata.version(name) for name in ("torch", "numpy")}


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a safetensors file under a temporary name first."""
    with replacing(path) as partial:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, partial)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises:
        ModelError: missing or damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: not found; run the stage that makes it with `dvc repro`") from None
    except SafetensorError as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})") from None


def save_model(folder: Path, tensors: dict[str, torch.Tensor], card: dict[str, Any]) -> None:
    """Write a model: its tensors, and its card with the tensors' shapes and the libraries' versions added."""
    save_tensors(folder / TENSORS, tensors)
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    write_json(folder / CARD, {**card, "shapes": shapes, "versions": library_versions()})


def load_model(folder: Path, kind: str | None = None) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(tensors, card) of a model's folder.

    Args:
        kind: what the card must say that it is.

    Raises:
        ModelError, ShardError: missing, damaged, of another kind, or the shapes are not the card's.
    """
    card: dict[str, Any] = read_json(folder / CARD)
    if kind is not None and card["kind"] != kind:
        raise ModelError(f"{folder}: holds a {card['kind']}, expected {kind}")
    tensors = load_tensors(folder / TENSORS)
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    if shapes != card["shapes"]:
        raise ModelError(f"{folder}: the tensors have shapes {shapes}, the card says {card['shapes']}; run the learn stage again")
    return tensors, card
