"""Changing values of a YAML file in its text: every other character, comments and layout included, stays as it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import read_section
from pipeline.stage.tables import replacing
from tasks.stage_graph import overridden


@dataclass(frozen=True)
class Edit:
    """Characters start to end of a text become `text`."""

    start: int
    end: int
    text: str


def apply_overrides(file: Path, overrides: list[str]) -> None:
    """Set parameters, each `path=value`, `+path=value` or `~path` in the grammar of `dvc exp run --set-param`.

    Raises:
        ParameterError: a path that is not there, or a value that cannot be read; the file is as before.
    """
    before = read_section("", file)
    after = overridden(before, overrides)
    text = file.read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)  # the C loader's marks count bytes
    edits = list(_edits(text, root, before, after)) if isinstance(root, yaml.MappingNode) else []
    for edit in sorted(edits, key=lambda each: each.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    with replacing(file) as edited:
        edited.write_text(text, encoding="utf-8")
        if read_section("", edited) != after:
            raise ParameterError(f"{', '.join(overrides)}: {file} cannot be edited there; set the value in the file by hand")


def _edits(text: str, node: yaml.MappingNode, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Edit]:
    """What makes a mapping's text hold `after`; a mapping in braces whose keys change is written anew."""
    values = {key.value: value for key, value in node.value}
    keys = {key.value: key for key, _ in node.value}
    if node.flow_style and before.keys() != after.keys():
        yield Edit(node.start_mark.index, node.end_mark.index, _flow(after))
        return
    for key, value in after.items():
        if key not in before:
            yield _addition(text, node, key, value)
        elif before[key] != value:
            own = values[key]
            if isinstance(own, yaml.MappingNode) and isinstance(value, dict) and own.value:
                yield from _edits(text, own, before[key], value)
            else:
                yield _replacement(text, own, value)
    for key in before.keys() - after.keys():
        start = text.rfind("\n", 0, keys[key].start_mark.index) + 1
        yield Edit(start, _line_end(text, _end(values[key])), "")


def _addition(text: str, node: yaml.MappingNode, key: str, value: Any) -> Edit:
    """A line after the last of a block mapping."""
    place = _line_end(text, _end(node))
    indent = " " * node.value[0][0].start_mark.column
    newline = "" if text[:place].endswith("\n") else "\n"
    return Edit(place, place, f"{newline}{indent}{_flow({key: value})[1:-1]}\n")


def _replacement(text: str, node: yaml.Node, value: Any) -> Edit:
    start, end = node.start_mark.index, _end(node)
    space = " " if start == end and not text[:start].endswith(" ") else ""  # nothing stands for null
    if not _in_one_line(node):
        start = len(text[:start].rstrip())
        space = " "
    return Edit(start, end, space + _flow(value))


def _in_one_line(node: yaml.Node) -> bool:
    return not isinstance(node, yaml.CollectionNode) or bool(node.flow_style)


def _end(node: yaml.Node) -> int:
    """Where a node's own text ends; PyYAML ends a block collection at what follows it."""
    if _in_one_line(node) or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _line_end(text: str, place: int) -> int:
    found = text.find("\n", place)
    return len(text) if found < 0 else found + 1


def _flow(value: Any) -> str:
    """A value in one line, as people write it: `[1.0, 2.0]`, `{a: b}`, `null`."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n...\n").rstrip("\n")
