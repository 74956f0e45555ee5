"""Sections of params.yaml, validated before any work: unknown keys, wrong types and impossible values are refused by path."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, ValidationError

from pipeline.stage.errors import ParameterError
from pipeline.stage.yaml_text import parse_yaml

PARAMS_FILE = Path("params.yaml")
UNSEEN = ("size", "nfiles")
"""Names that DVC overlooks wherever it tells one run from another: it would restore the results of another value."""


class Section(BaseModel):
    """A section of params.yaml: frozen, strict about types, closed to unknown keys and infinite numbers, no field of a name unseen by DVC."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        unseen = [name for name in UNSEEN if name in cls.model_fields]
        if unseen:
            raise TypeError(f"{cls.__name__}.{unseen[0]}: DVC's run cache does not see parameters of this name; choose another")


SectionT = TypeVar("SectionT", bound=Section)
_READ: dict[str, Any] = {}


def read_section(path: str, file: Path | None = None) -> Any:
    """The raw value at a dotted path of params.yaml, not to be changed; an empty path gives the whole file.

    Raises:
        ParameterError: the file is missing or not YAML, or nothing stands at the path.
    """
    value = _section_at(path, file or PARAMS_FILE)
    if file is None:
        _READ.setdefault(path, value)
    return value


def sections_read() -> Mapping[str, Any]:
    """Every section of params.yaml that this process read, as it was the first time."""
    return _READ


def _section_at(path: str, file: Path) -> Any:
    try:
        value = _parsed(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(f"{file}: not found; run the command in the project's folder") from None
    except UnicodeDecodeError:
        raise ParameterError(f"{file}: not UTF-8 text; save it as UTF-8") from None
    except ValueError as error:
        raise ParameterError(f"{file}: not valid YAML: {error}") from None
    walked: list[str] = []
    for key in filter(None, path.split(".")):
        walked.append(key)
        if not isinstance(value, dict) or key not in value:
            known = ", ".join(map(str, value)) if isinstance(value, dict) and value else "nothing"
            raise ParameterError(f"{file}: {'.'.join(walked)} is missing; there is: {known}")
        value = value[key]
    return value


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """A file's content is parsed once in a process, however many sections are asked for."""
    return parse_yaml(text)


def load_section(model: type[SectionT], path: str, file: Path | None = None) -> SectionT:
    """The section at a dotted path of params.yaml, validated against its model.

    Raises:
        ParameterError: one line that names every offending parameter by its full path.
    """
    return validate(model, read_section(path, file), path, str(file or PARAMS_FILE))


def validate(model: type[SectionT], value: Any, path: str, origin: str = "params.yaml") -> SectionT:
    """Validate one raw section; `path` and `origin` are what the error names."""
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ParameterError(f"{origin}: {path or 'the file'}: expected a mapping, got {value!r}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = [_explain(model, value, path, item) for item in error.errors()]
        raise ParameterError(f"{origin}: " + "; ".join(lines)) from None


def one_of(kinds: Mapping[str, Any], tell: Callable[[Any], str | None]) -> Any:
    """The type of a section that is one of several kinds.

    Args:
        kinds: models by name.
        tell: the name from the raw section.
    """
    members = [Annotated[kind, Tag(name)] for name, kind in kinds.items()]
    return Annotated[Union[tuple(members)], Discriminator(tell)]  # noqa: UP007 -- the members are computed


def named_by(key: str) -> Callable[[Any], str | None]:
    """Tells the kind of a section by one of its keys, of the section as it is read or of its model."""

    def tell(section: Any) -> str | None:
        found = section.get(key) if isinstance(section, dict) else getattr(section, key, None)
        return found if isinstance(found, str) else None

    return tell


def _explain(model: type[BaseModel], value: Any, path: str, item: Any) -> str:
    location = _without_tags(value, item["loc"])
    where = ".".join(filter(None, [path, *map(str, location)]))
    kind = item["type"]
    if kind == "extra_forbidden":
        allowed = fields_at(model, item["loc"][:-1])
        return f"{where}: unknown parameter; allowed: {', '.join(allowed)}"
    if kind == "missing":
        return f"{where}: missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_kind(model, item, where)
    if kind == "literal_error" and location[-1:] == ("method",):
        allowed = item["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        return f"{where}: {item['input']!r} is unknown; allowed: {allowed}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}, got {item['input']!r}"


def _unknown_kind(model: type[BaseModel], item: Any, where: str) -> str:
    """A section that says of itself what it is, and says nothing known."""
    section = item["input"]
    tags = [tag for tag, _ in alternatives(annotation_at(model, item["loc"]))]
    if not isinstance(section, dict):
        return f"{where}: expected a mapping, got {section!r}"
    key = next((key for key in ("source", "step") if key in section), "source" if "none" in tags else "step")
    return f"{where}.{key}: {section.get(key)!r} is unknown; allowed: {', '.join(tags)}"


def _without_tags(value: Any, location: tuple[Any, ...]) -> tuple[Any, ...]:
    """A location without the names of kinds, which pydantic puts between the keys."""
    kept = []
    for index, part in enumerate(location):
        inside = (isinstance(value, dict) and part in value) or (isinstance(value, list | tuple) and isinstance(part, int))
        if inside:
            value = value[part]
        elif index < len(location) - 1:
            continue
        kept.append(part)
    return tuple(kept)


def fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The parameters that may stand at a location, sorted."""
    found = annotation_at(model, location)
    return sorted(found.model_fields) if isinstance(found, type) and issubclass(found, BaseModel) else []


def annotation_at(model: Any, location: tuple[Any, ...]) -> Any:
    """The type at a location: keys of sections, names of mappings, places of lists, and names of kinds where one of several may stand."""
    found = model
    for part in location:
        found = _inside(plain(found), part)
    return plain(found)


def _inside(annotation: Any, part: Any) -> Any:
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return None if field is None else Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    if origin is dict:
        return get_args(annotation)[1]
    if origin in (tuple, list):
        return get_args(annotation)[0]
    return next((kind for tag, kind in alternatives(annotation) if tag == part), None)


def plain(annotation: Any) -> Any:
    """A type without its annotations, and without None; one of several kinds stays as it is."""
    if get_origin(annotation) is Annotated and not alternatives(annotation):
        return plain(get_args(annotation)[0])
    members = [member for member in get_args(annotation) if member is not type(None)]
    if get_origin(annotation) not in (Annotated, Literal, dict, tuple, list, None) and len(members) == 1:
        return plain(members[0])
    return annotation


def alternatives(annotation: Any) -> list[tuple[str, Any]]:
    """(name, model) of the kinds that `one_of` made; none of any other type."""
    if get_origin(annotation) is not Annotated or not any(isinstance(each, Discriminator) for each in get_args(annotation)[1:]):
        return []
    union = get_args(annotation)[0]
    members = get_args(union) if get_origin(union) is Union else (union,)
    return [(tag.tag, get_args(member)[0]) for member in members for tag in get_args(member)[1:] if isinstance(tag, Tag)]
