"""What a parameter of params.yaml means: its description, its default, what is allowed, and what it is now."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import PARAMS_FILE, alternatives, annotation_at, fields_at, plain, read_section
from pipeline.whole import Parameters

BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "min_length": "length at least", "pattern": "matching"}
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a mapping"}


def explain(path: str, file: Path | None = None) -> list[str]:
    """Lines about the parameter, or the section, at a dotted path.

    Raises:
        ParameterError: there is none; with those that there are.
    """
    keys = tuple(filter(None, path.split(".")))
    current = _current(keys, file)
    if not keys:
        return _section(Parameters)
    owner = _owner(keys, file)
    field = owner.model_fields.get(keys[-1]) if owner is not None else None
    found = _resolved(annotation_at(Parameters, _located(keys, file)), current)
    if found is None:
        known = fields_at(Parameters, _located(keys[:-1], file))
        raise ParameterError(f"{path}: no such parameter; there are: {', '.join(known) or 'names of your own'}")
    lines = [path + (_value(keys, current, file) if _is_value(found) else "")]
    if field is not None and field.description:
        lines.append(f"  {field.description}")
    if _is_value(found):
        lines.append(f"  allowed: {_allowed(found, field)}")
        if field is not None and field.default is not PydanticUndefined:
            lines.append(f"  default: {_shown(field.default)}")
        return lines
    return [*lines, *_inside(found)]


def _inside(found: Any) -> list[str]:
    """What stands in a section, in one of several kinds of section, or under names."""
    if kinds := alternatives(found):
        return [line for name, kind in kinds for line in (f"  {name}:", *(f"  {each}" for each in _section(kind)))]
    if get_origin(found) is dict:
        return ["  names of your own, each with:", *(f"  {line}" for line in _inside(plain(get_args(found)[1])))]
    return _section(found)


def _section(model: type[BaseModel]) -> list[str]:
    about = " ".join((model.__doc__ or "").split())
    named = [f"  {name}: {field.description or _title(field)}" for name, field in sorted(model.model_fields.items())]
    return ([f"  {about}"] if about else []) + named


def _title(field: FieldInfo) -> str:
    """For a parameter without a description: what its section says, or what is allowed."""
    found = plain(field.annotation)
    if _is_value(found):
        return _allowed(found, field)
    return " ".join((getattr(found, "__doc__", None) or "").split())


def _is_value(annotation: Any) -> bool:
    section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return not (section or alternatives(annotation) or (get_origin(annotation) is dict))


def _allowed(annotation: Any, field: FieldInfo | None) -> str:
    whole = field.annotation if field is not None else annotation
    options = list(_options(whole))
    limits = [
        f"{BOUNDS[name]} {getattr(each, name)}"
        for each in (field.metadata if field else ())
        for name in BOUNDS
        if getattr(each, name, None) is not None
    ]
    return ", ".join([" or ".join(options), *limits])


def _options(annotation: Any) -> Iterator[str]:
    """What a value may be, in words."""
    origin = get_origin(annotation)
    if annotation is type(None):
        yield "null"
    elif origin is Literal:
        yield from (str(value).lower() if isinstance(value, bool) else str(value) for value in get_args(annotation))
    elif origin in (tuple, list):
        inner = " or ".join(_options(get_args(annotation)[0]))
        yield f"a list of: {inner}"
    elif origin is not None:
        members = get_args(annotation)[:1] if hasattr(annotation, "__metadata__") else get_args(annotation)
        for member in members:
            yield from _options(member)
    else:
        yield WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _current(keys: tuple[str, ...], file: Path | None) -> Any:
    try:
        return read_section(".".join(keys), file)
    except ParameterError:
        if not (file or PARAMS_FILE).exists():
            raise
        return None


def _value(keys: tuple[str, ...], current: Any, file: Path | None) -> str:
    """What a parameter is; one that the file does not name has its default."""
    named = current is not None or keys[-1] in (_current(keys[:-1], file) or {})
    return f" = {_shown(current)}" if named else f": not in {file or PARAMS_FILE}, which leaves it at its default"


def _located(keys: tuple[str, ...], file: Path | None) -> tuple[str, ...]:
    """Keys with the names of kinds among them, as the file chooses them."""
    located: tuple[str, ...] = ()
    for index, key in enumerate(keys):
        if kinds := alternatives(annotation_at(Parameters, located)):
            located += (_kind(kinds, _current(keys[:index], file), key),)
        located += (key,)
    return located


def _kind(kinds: list[tuple[str, Any]], section: Any, key: str) -> str:
    """The kind that a section says it is, or the first that has a parameter of this name."""
    said = [value for value in section.values() if isinstance(value, str)] if isinstance(section, dict) else []
    names = [name for name, _ in kinds]
    return next((name for name in said if name in names), None) or next((name for name, kind in kinds if key in kind.model_fields), names[0])


def _owner(keys: tuple[str, ...], file: Path | None) -> type[BaseModel] | None:
    """The section that a key belongs to; None for a name of the user's own."""
    located = _located(keys, file)
    found = _resolved(annotation_at(Parameters, located[:-1]), None)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _resolved(annotation: Any, section: Any) -> Any:
    """One of several kinds becomes the kind that the section says it is."""
    kinds = alternatives(annotation)
    if not kinds or not isinstance(section, dict):
        return annotation
    return dict(kinds)[_kind(kinds, section, "")]


def _shown(value: Any) -> str:
    """A value as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)
