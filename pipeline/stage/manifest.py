"""The manifest of a folder of shards: which parts belong to it, their checksums, and what is in them."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.stage.checksums import MANIFEST, damaged_copies
from pipeline.stage.errors import ShardError
from pipeline.stage.fingerprint import file_sha256, fingerprint
from pipeline.stage.tables import read_json, write_json

CARD = "model.json"
"""A learned model's card, in the folder that holds the model."""


@dataclass(frozen=True)
class Part:
    """One file of a shard folder."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Parts in their order, and facts about the whole (JSON values: dimensions, layers, counts)."""

    kind: str
    parts: tuple[Part, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Equal for folders with equal bytes."""
        return fingerprint(asdict(self))

    def paths(self, folder: Path, prefix: str = "part-") -> list[Path]:
        """The shards in order."""
        return [folder / part.name for part in self.parts if part.name.startswith(prefix)]

    def save(self, folder: Path) -> None:
        write_json(folder / MANIFEST, {**asdict(self), "fingerprint": self.fingerprint})


def describe_parts(folder: Path, names: list[str]) -> tuple[Part, ...]:
    """Sizes and checksums of the named files."""
    return tuple(Part(name, (folder / name).stat().st_size, file_sha256(folder / name)) for name in names)


def load_manifest(folder: Path, kind: str) -> Manifest:
    """The manifest of a folder.

    Raises:
        ShardError: there is none, or it is one of another kind.
    """
    value = read_json(folder / MANIFEST)
    try:
        manifest = Manifest(value["kind"], tuple(Part(**part) for part in value["parts"]), value["facts"])
        whole = manifest.fingerprint == value["fingerprint"]
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise ShardError(f"{folder / MANIFEST}: damaged, or of another version; delete {damaged_copies(folder / MANIFEST)}, and run `dvc repro`")
    if manifest.kind != kind:
        raise ShardError(f"{folder}: holds {manifest.kind!r}, expected {kind!r}")
    return manifest


class Facts(BaseModel):
    """What a folder's manifest says of its content; each format has its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """The facts of a manifest.

        Raises:
            ShardError: they are those of another version of the project.
        """
        try:
            return cls.model_validate(manifest.facts)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ShardError(f"a folder of {manifest.kind}: its manifest says {where}: {first['msg']}; run the stage that makes it again") from None
