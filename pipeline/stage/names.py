"""Names that users give in params.yaml: they become parts of paths, so that only safe ones are taken."""

import re
from collections.abc import Iterator
from typing import Any

from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import UNSEEN

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
RULE = "names are 1 to 100 letters, digits, _ and -, and begin with a letter or a digit"
NAMED = ("datasets", "networks", "finetune", "benchmarks", "mask_study", "patch_study", "region_study", "activation_study")
"""Sections that users give names in."""
NAMING = {"benchmarks": ("dataset", "held_out", "distractors"), "finetune": ("dataset", "start")}
"""Keys of those sections whose values are such names; studies name data sets like benchmarks."""
STUDIED = ("dataset", "held_out")


def refuse_names(content: Any, origin: str) -> None:
    """Hold every name of params.yaml against the rule for names.

    Raises:
        ParameterError: a name that is no text or does not fit, by its path.
    """
    for path, name in _names(content if isinstance(content, dict) else {}):
        if not isinstance(name, str):
            raise ParameterError(f"{origin}: {path}: {name!r} is no text; quote it: {str(name)!r}")
        if not NAME.fullmatch(name):
            raise ParameterError(f"{origin}: {path}: {name!r} cannot be a name; {RULE}")
        if name in UNSEEN:
            raise ParameterError(f"{origin}: {path}: DVC's run cache does not see the name {name!r}; choose another")


def _names(content: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """(where it stands, name) of every name; what has another form is left to the models of the sections."""
    for place in NAMED:
        section = content.get(place)
        for key, inner in section.items() if isinstance(section, dict) else ():
            yield place, key
            for field in NAMING.get(place, STUDIED if place.endswith("_study") else ()):
                if isinstance(inner, dict) and field in inner:
                    yield f"{place}.{key}.{field}", inner[field]
    network = content.get("network")
    if isinstance(network, dict) and "name" in network:
        yield "network.name", network["name"]
