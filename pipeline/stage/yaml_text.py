"""YAML as the project reads it: numbers as DVC reads them, and no duplicate key, tag, deep nesting or alias inside an anchored value."""

import re
from typing import Any

import yaml

DEEPEST = 20
"""Levels of nesting; params.yaml has five."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads 1e-05 as the number that DVC reads and writes (YAML 1.2), where YAML 1.1 has a text."""


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789"))


def parse_yaml(text: str) -> Any:
    """The value of one YAML document.

    Raises:
        ValueError: one line that says what is wrong and in which line.
    """
    try:
        _refuse_oddities(text)
        return yaml.load(text, Loader)  # noqa: S506 -- a safe loader
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def _refuse_oddities(text: str) -> None:
    """Look at the document's events, before any value is made of them."""
    keys: list[set[str] | None] = []  # of each open collection: the keys so far, None for a list
    awaits_key: list[bool] = []
    anchored: list[bool] = []
    event: Any
    for event in yaml.parse(text, Loader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) and any(anchored):
            raise ValueError(f"line {line}: an alias (*{event.anchor}) inside a value with an anchor (&) is not read; write the value out")
        if tag := getattr(event, "tag", None):
            raise ValueError(f"line {line}: the tag {tag!r} is not read; write the value without it")
        if isinstance(event, yaml.CollectionEndEvent):
            keys.pop()
            awaits_key.pop()
            anchored.pop()
        elif isinstance(event, yaml.ScalarEvent) and keys and keys[-1] is not None and awaits_key[-1]:
            if event.value in keys[-1]:
                raise ValueError(f"line {line}: the key {event.value!r} stands twice; remove one")
            keys[-1].add(event.value)
        if isinstance(event, yaml.NodeEvent) and keys and keys[-1] is not None and not isinstance(event, yaml.CollectionEndEvent):
            awaits_key[-1] = not awaits_key[-1]
        if isinstance(event, yaml.CollectionStartEvent):
            if len(keys) >= DEEPEST:
                raise ValueError(f"line {line}: nested more than {DEEPEST} levels deep")
            keys.append(set() if isinstance(event, yaml.MappingStartEvent) else None)
            awaits_key.append(True)
            anchored.append(event.anchor is not None)
