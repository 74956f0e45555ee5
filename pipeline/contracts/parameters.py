"""Sections of params.yaml, validated before any work: unknown keys, wrong types and impossible values are refused by path."""

import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.contracts.errors import ParameterError

PARAMS_FILE = Path("params.yaml")


UNSEEN = ("size", "nfiles")
"""Names that DVC leaves out wherever it tells one run from another: it would restore the results of another value."""


class _Loader(yaml.SafeLoader):
    """Reads 1e-05 as the number that DVC reads and writes (YAML 1.2), where YAML 1.1 has a text."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789"))


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


def read_section(path: str, file: Path | None = None) -> Any:
    """The raw value at a dotted path of params.yaml; an empty path gives the whole file.

    Raises:
        ParameterError: the file is missing or not YAML, or nothing stands at the path.
    """
    file = file or PARAMS_FILE
    try:
        value = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506
    except FileNotFoundError:
        raise ParameterError(f"{file}: not found; run the command in the project's folder") from None
    except yaml.YAMLError as error:
        raise ParameterError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    walked: list[str] = []
    for key in filter(None, path.split(".")):
        walked.append(key)
        if not isinstance(value, dict) or key not in value:
            known = ", ".join(map(str, value)) if isinstance(value, dict) and value else "nothing"
            raise ParameterError(f"{file}: {'.'.join(walked)} is missing; there is: {known}")
        value = value[key]
    return value


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
        raise ParameterError(f"{origin}: {path}: expected a mapping, got {value!r}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = [_explain(model, path, item) for item in error.errors()]
        raise ParameterError(f"{origin}: " + "; ".join(lines)) from None


def _explain(model: type[BaseModel], path: str, item: Any) -> str:
    where = ".".join([path, *(str(part) for part in item["loc"])])
    if item["type"] == "extra_forbidden":
        fields = _fields_at(model, item["loc"][:-1])
        return f"{where}: unknown parameter; allowed: {', '.join(fields)}"
    if item["type"] == "missing":
        return f"{where}: missing"
    message = item["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}, got {item['input']!r}"


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    for key in location:
        field = model.model_fields.get(str(key))
        if field is None:  # a place in a list
            continue
        inner = (field.annotation, *get_args(field.annotation))
        model = next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return sorted(model.model_fields)
