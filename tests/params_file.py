"""The project's params.yaml, or another, with other values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import PROJECT


def set_at(content: dict[str, Any], path: str, value: object) -> None:
    """Set the value at a dotted path; its section must be there."""
    section = content
    *parents, last = path.split(".")
    for key in parents:
        section = section[key]
    section[last] = value


def written(folder: Path, values: Mapping[str, object], origin: Path = PROJECT / "params.yaml") -> Path:
    """A file params.yaml in a folder: another with other values."""
    content = yaml.safe_load(origin.read_text(encoding="utf-8"))
    for path, value in values.items():
        set_at(content, path, value)
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file
