"""Looking at folders of photographs: what they hold now against their records and their last import, files read only where they changed."""

import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.acquisition.folder import Folder, content_digest
from pipeline.acquisition.params import load_dataset
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.settings import settings
from pipeline.stage import places
from pipeline.stage.errors import SourceError
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.parameters import read_section
from pipeline.stage.source_records import SourceRecord, ensure_source_records, write_source_record
from pipeline.stage.tables import read_json, write_json

Seen = dict[str, tuple[int, int, int, str]]
"""Bytes, times of the last change of the content and of the file in nanoseconds, and SHA-256, by path. The first time can be set, and an edit
may keep it; the second cannot."""
SETTLED = 2_000_000_000
"""Nanoseconds after which a change cannot have the time of an earlier one; younger files are read again."""


@dataclass(frozen=True)
class Scanned:
    """What a folder holds.

    Attributes:
        added, removed, changed: photographs against the last import; all are added where there was none.
        same: whether the last import is of exactly this.
        error: why the folder could not be looked at; its record is left as it was.
    """

    dataset: str
    files: int
    added: int
    removed: int
    changed: int
    imported: bool
    same: bool
    error: str = ""

    @property
    def difference(self) -> str:
        """Against the last import, for people; empty where there is none."""
        if self.error:
            return self.error
        counts = {"added": self.added, "removed": self.removed, "changed": self.changed}
        told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        if not self.imported:
            return f"{self.added} photographs, not imported yet"
        return told or ("" if self.same else "other roles, instances or boxes")

    @property
    def line(self) -> str:
        """For people."""
        if self.error:
            return f"error: {self.dataset}: {self.error}"
        return f"{self.dataset}: {self.files} photographs; {self.difference or 'as they were imported'}"


def scan_sources(names: Iterable[str] = ()) -> list[Scanned]:
    """Look at the named data sets, or at all, and write their records; those of other sources than folders are only named.

    A folder that cannot be looked at says so in its `error`.

    Raises:
        ParameterError: no such data set.
    """
    datasets = read_section("datasets")
    ensure_source_records(datasets)
    for left in places.SOURCES.glob("*.json"):
        if left.stem not in datasets:
            left.unlink()
    chosen = {name: load_dataset(name) for name in (list(names) or datasets)}
    return [_scanned_or_why(name, dataset) for name, dataset in chosen.items() if isinstance(dataset, Folder)]


def _scanned_or_why(name: str, folder: Folder) -> Scanned:
    try:
        return _scanned(name, folder)
    except SourceError as error:
        return Scanned(name, 0, 0, 0, 0, imported=False, same=False, error=str(error))


def _scanned(name: str, folder: Folder) -> Scanned:
    records = folder.contents.records
    seen = look_at(folder.root, sorted({record["path"] for record in records}), remembered_scan(name))
    now = {path: digest for path, (*_, digest) in seen.items()}
    digest = content_digest(now, records)
    write_source_record(name, SourceRecord("folder", len(now), sum(size for size, *_ in seen.values()), digest))
    import_ = _last_import(name)
    known = import_.get("files", {})
    changed = sum(known[path] != own for path, own in now.items() if path in known)
    added, removed = len(now.keys() - known.keys()), len(known.keys() - now.keys())
    return Scanned(name, len(now), added, removed, changed, bool(import_), import_.get("digest") == digest)


def _last_import(name: str) -> dict[str, Any]:
    """What data/raw/DATASET says of the folder that it was made of; nothing where there was no import."""
    source = places.raw(name) / "SOURCE.json"
    found: dict[str, Any] = read_json(source) if source.exists() else {}
    return found


def remembered_scan(dataset: str) -> Path:
    """What `look_at` keeps of a data set."""
    return settings().scratch / "scans" / f"{dataset}.json"


def look_at(root: Path, paths: list[str], remembered: Path) -> Seen:
    """Size, time and digest of files; those whose size and time are as they were before are not read.

    Args:
        remembered: a file that keeps what was seen; it may go.

    Raises:
        SourceError: a file that cannot be read, or that is gone meanwhile.
    """
    before, started = _remembered(remembered), time.time_ns()
    found: Seen = {}
    unread: list[str] = []
    for path in paths:
        facts = _stat(root, path)
        known = before.get(path)
        if known and known[:3] == (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns):
            found[path] = known
        else:
            unread.append(path)
    with ThreadPoolExecutor(settings().threads) as pool, Progress("scan", len(unread), "photographs") as progress:
        for path, own in zip(unread, pool.map(lambda path: _read(root, path), unread), strict=True):
            found[path] = own
            progress.advance()
    settled = {path: own for path, own in found.items() if max(own[1:3]) < started - SETTLED}
    if settled != before:
        write_json(remembered, settled)
    return {path: found[path] for path in paths}


def _remembered(file: Path) -> Seen:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {path: (int(size), int(written), int(changed), str(digest)) for path, (size, written, changed, digest) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _stat(root: Path, path: str) -> os.stat_result:
    try:
        return os.stat(root / path)
    except OSError as error:
        raise SourceError(f"{root / path}: {error.strerror}") from None


def _read(root: Path, path: str) -> tuple[int, int, int, str]:
    facts = _stat(root, path)
    try:
        return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, file_sha256(root / path)
    except OSError as error:
        raise SourceError(f"{root / path}: {error.strerror}") from None
