"""Bytes against checksums: of a folder's parts against its manifest, where a part is read, and of a file against what is published of it."""

import hashlib
import json
from configparser import ConfigParser
from configparser import Error as ConfigError
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.stage.errors import ShardError, SourceError
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.yaml_text import Loader

MANIFEST = "manifest.json"
DVC = Path(".dvc")


def verify(path: Path) -> None:
    """Compare a file with the manifest next to it; each file once in a process. A file that no manifest names is not looked at.

    Raises:
        ShardError: other bytes than those that were written; the message names what to delete, DVC's copy included.
    """
    try:
        version, manifest = _version(path), _version(path.parent / MANIFEST)
    except OSError:
        return  # whoever opens it says that it is missing
    expected = _checksums(path.parent, manifest).get(path.name)
    if expected and _digest(path, version) != expected:
        raise ShardError(f"{path}: not the bytes that were written; delete {damaged_copies(path)}, and run `dvc repro`")


def verify_all(folder: Path) -> None:
    """Compare every part of a folder with its manifest.

    Raises:
        ShardError: a part is missing, or has other bytes than those that were written.
    """
    for name, expected in _checksums(folder, _version(folder / MANIFEST)).items():
        path = folder / name
        if not path.is_file() or _digest(path, _version(path)) != expected:
            raise ShardError(f"{path}: missing, or not the bytes that were written; delete {damaged_copies(path)}, and run `dvc repro`")


def _version(path: Path) -> tuple[int, int, int]:
    """Other than before for a file that was replaced or written to."""
    facts = path.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


@lru_cache(maxsize=64)
def _checksums(folder: Path, _version: tuple[int, int, int]) -> dict[str, str]:
    """SHA-256 by name of the parts that a manifest lists; none where there is no manifest, or one that its reader will refuse."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {str(part["name"]): str(part["sha256"]) for part in content["parts"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


@lru_cache(maxsize=4096)
def _digest(path: Path, _version: tuple[int, int, int]) -> str:
    return file_sha256(path)


def damaged_copies(path: Path) -> str:
    """The folder that DVC makes as a whole, and the object of its cache that the file would be restored from."""
    try:
        stages: dict[str, Any] = yaml.load(Path("dvc.lock").read_text(encoding="utf-8"), Loader)["stages"]  # noqa: S506 -- a safe loader
        outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
        output = next(parent for parent in path.parents if parent.as_posix() in outs)
    except (OSError, ValueError, KeyError, TypeError, StopIteration, yaml.YAMLError):
        return f"{path.parent}"
    cached = _cache_object(outs[output.as_posix()], path.relative_to(output))
    return f"{output} and {cached}, which it is restored from" if cached else f"{output}"


def _cache_object(listing: str, part: Path) -> Path | None:
    """The object of DVC's cache that holds a part of an output."""
    cache = _cache()
    try:
        listed = {entry["relpath"]: entry["md5"] for entry in json.loads((cache / listing[:2] / listing[2:]).read_text(encoding="utf-8"))}
        md5 = listed[part.as_posix()]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = cache / md5[:2] / md5[2:]
    return found if found.exists() else None


def _cache() -> Path:
    """Where DVC's cache lies, as the checkout's configuration says."""
    configuration = ConfigParser(interpolation=None)
    try:
        configuration.read([DVC / "config", DVC / "config.local"], encoding="utf-8")
    except ConfigError:
        configuration = ConfigParser()
    return DVC / configuration.get("cache", "dir", fallback="cache") / "files/md5"


def verify_checksum(path: Path, checksum: str, name: str) -> None:
    """Compare a file with 'sha256:DIGEST' or 'md5:DIGEST' (a prefix of the digest will do).

    Raises:
        SourceError: they differ.
    """
    algorithm, _, expected = checksum.partition(":")
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if not expected or not actual.startswith(expected):
        raise SourceError(f"{name}: {algorithm} is {actual}, expected {expected or 'a digest'}; the file is not used")
