"""The store: what was computed once, by a digest of everything that determines it, so that nothing is computed twice.

It is a shortcut and never an input: without it the same bytes come out. It is one SQLite file in RETRIEVAL_STORE; entries that were not
used for the longest time go first where it would grow beyond RETRIEVAL_STORE_GIB. A damaged entry is forgotten and made again, and so is a
damaged file.
"""

import contextlib
import hashlib
import importlib.metadata
import logging
import platform
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.running.disk import human_bytes
from pipeline.contracts.running.settings import settings
from pipeline.stage.fingerprint import fingerprint

log = logging.getLogger(__name__)
FILE = "store.sqlite"
PATIENCE = 30.0
"""Seconds to wait for another stage that writes."""
KEPT_SHARE = 0.9
"""Of the limit that is kept when something has to go, so that not every write has to make room."""
KEYS_AT_ONCE = 500
SHRUNK_FROM = 1.5
"""Times the limit that the file may take on the disk."""
SCRIPT = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS entries (kind TEXT, key BLOB, used REAL, length INTEGER, check_sum BLOB, value BLOB, UNIQUE (kind, key));
CREATE INDEX IF NOT EXISTS by_use ON entries (used);
CREATE TABLE IF NOT EXISTS counts (kind TEXT PRIMARY KEY, hits INTEGER NOT NULL, misses INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class StoreFacts:
    """Of one kind of entries: how many, their bytes, and how often some were found and not found."""

    kind: str
    entries: int
    bytes: int
    hits: int
    misses: int


class Store:
    """Values of bytes by kind and key; any number of processes may use one file.

    Args:
        folder: where the file lies.
        limit: bytes of the file's pages in use; 0 keeps and finds nothing.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.file, self.limit = folder / FILE, limit

    @classmethod
    def open(cls) -> "Store":
        """The store of the settings."""
        return cls(settings().store, int(settings().store_gib * 2**30))

    def read(self, kind: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that have one."""
        found: dict[bytes, bytes] = {}

        def look_up(connection: sqlite3.Connection) -> None:
            for first in range(0, len(keys), KEYS_AT_ONCE):
                found.update(_whole(connection, kind, list(keys[first : first + KEYS_AT_ONCE])))
            _count(connection, kind, len(found), len(set(keys)) - len(found))

        if keys and self.limit:
            self._in_transaction(look_up)
        return found

    def write(self, kind: str, values: Mapping[bytes, bytes]) -> None:
        """Keep values; those that were not used for the longest time go where they take too much room."""

        def keep(connection: sqlite3.Connection) -> None:
            rows = ((kind, key, time.time(), len(value), *_packed(value)) for key, value in values.items())
            connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._make_room(connection)

        if values and self.limit:
            self._in_transaction(keep)
            self._shrink()

    def _shrink(self) -> None:
        """Give room back to the disk where the file is far larger than it may be, as after a lower limit."""
        if self.file.exists() and self.file.stat().st_size > SHRUNK_FROM * self.limit:
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self.file, timeout=PATIENCE)) as connection:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def facts(self) -> list[StoreFacts]:
        """What is in it, by kind."""
        found: list[StoreFacts] = []

        def look(connection: sqlite3.Connection) -> None:
            entries = connection.execute("SELECT kind, COUNT(*), SUM(LENGTH(value)) FROM entries GROUP BY kind")
            sizes = {kind: (count, size) for kind, count, size in entries}
            used = {kind: (hits, misses) for kind, hits, misses in connection.execute("SELECT kind, hits, misses FROM counts")}
            found.extend(StoreFacts(kind, *sizes.get(kind, (0, 0)), *used.get(kind, (0, 0))) for kind in sorted(sizes | used))

        if self.file.exists():
            self._in_transaction(look)
        return found

    def summary(self) -> list[str]:
        """What is in it, in lines for people."""
        facts = self.facts()
        told = (f"{each.entries} entries, {human_bytes(each.bytes)}; found {each.hits} times, missing {each.misses} times" for each in facts)
        size = sum(path.stat().st_size for path in self._files())
        entries = human_bytes(sum(each.bytes for each in facts))
        whole = f"{self.file}: {entries} of at most {human_bytes(self.limit)}; {human_bytes(size)} on the disk"
        return [*(f"{each.kind}: {line}" for each, line in zip(facts, told, strict=True)), whole]

    def clean_up(self) -> list[str]:
        """Remove everything; says so in a line."""
        size = sum(path.stat().st_size for path in self._files())
        self._remove()
        return [f"{self.file}: {human_bytes(size)} removed"]

    def _files(self) -> list[Path]:
        return [path for path in (self.file, *(self.file.with_name(self.file.name + ending) for ending in ("-wal", "-shm"))) if path.exists()]

    def _remove(self) -> None:
        for path in self._files():
            path.unlink(missing_ok=True)

    def _in_transaction(self, action: Callable[[sqlite3.Connection], None]) -> None:
        """Do something. A store that cannot be used is as good as none: the stage goes on without."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.file, timeout=PATIENCE)
        except (OSError, sqlite3.Error) as error:
            log.warning("%s: cannot be used (%s); everything is computed.", self.file, error)
            return
        try:
            connection.executescript(SCRIPT)
            with connection:
                action(connection)
        except sqlite3.OperationalError as error:
            log.warning("%s: cannot be used now (%s); what is missing is computed.", self.file, error)
        except sqlite3.DatabaseError as error:
            log.warning("%s: damaged (%s); it is made anew.", self.file, error)
            connection.close()
            self._remove()
        finally:
            connection.close()

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Remove entries until the file's pages in use are below the limit."""
        if _bytes_in_use(connection) <= self.limit:
            return
        to_free = _bytes_in_use(connection) - KEPT_SHARE * self.limit
        for row, size in connection.execute("SELECT rowid, LENGTH(value) FROM entries ORDER BY used").fetchall():
            if to_free <= 0:
                break
            connection.execute("DELETE FROM entries WHERE rowid = ?", (row,))
            to_free -= size


def digest_of(*parts: object) -> bytes:
    """A key: 16 bytes of the SHA-256 of what determines a value."""
    return hashlib.sha256(fingerprint(*parts).encode()).digest()[:16]


@cache
def machine() -> str:
    """What else decides bytes: the processor, accelerators, threads, device and libraries of this process."""
    about = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else platform.processor()
    lines = sorted({line for line in about.splitlines() if line.startswith(("model name", "flags", "Features"))})
    accelerators = sorted(path.read_text(encoding="utf-8") for path in Path("/proc/driver/nvidia/gpus").glob("*/information"))
    own = settings()
    versions = {
        name: importlib.metadata.version(name) for name in ("torch", "numpy", "opencv-python-headless", "Pillow", "pillow-heif", "scikit-learn")
    }
    return fingerprint(platform.machine(), lines, accelerators, own.device, own.threads, own.batch_size, versions)


def pack_arrays(arrays: Sequence[npt.NDArray[Any]]) -> bytes:
    """Arrays as one value."""
    from safetensors.numpy import save

    return save({str(place): np.ascontiguousarray(array) for place, array in enumerate(arrays)})


def unpack_arrays(value: bytes) -> list[npt.NDArray[Any]]:
    """The inverse of `pack_arrays`."""
    from safetensors.numpy import load

    found = load(value)
    return [found[str(place)] for place in range(len(found))]


def _whole(connection: sqlite3.Connection, kind: str, keys: list[bytes]) -> dict[bytes, bytes]:
    """The undamaged values among some keys; damaged ones are forgotten."""
    marks = ",".join("?" * len(keys))
    query = f"SELECT rowid, key, length, check_sum, value FROM entries WHERE kind = ? AND key IN ({marks})"  # noqa: S608 -- question marks alone
    found: dict[bytes, bytes] = {}
    used: list[tuple[float, int]] = []
    for row, key, length, check_sum, packed in connection.execute(query, (kind, *keys)).fetchall():
        if _check_sum(packed) == check_sum:
            found[key] = pa.decompress(packed, decompressed_size=length, codec="zstd", asbytes=True)
            used.append((time.time(), row))
        else:
            log.warning("The store has a damaged entry of %s; it is made again.", kind)
            connection.execute("DELETE FROM entries WHERE rowid = ?", (row,))
    connection.executemany("UPDATE entries SET used = ? WHERE rowid = ?", used)
    return found


def _packed(value: bytes) -> tuple[bytes, bytes]:
    """(check sum, compressed value)."""
    packed: bytes = pa.compress(value, codec="zstd", asbytes=True)
    return _check_sum(packed), packed


def _check_sum(packed: bytes) -> bytes:
    return hashlib.sha256(packed).digest()[:16]


def _count(connection: sqlite3.Connection, kind: str, hits: int, misses: int) -> None:
    connection.execute("INSERT OR IGNORE INTO counts VALUES (?, 0, 0)", (kind,))
    connection.execute("UPDATE counts SET hits = hits + ?, misses = misses + ? WHERE kind = ?", (hits, misses, kind))


def _bytes_in_use(connection: sqlite3.Connection) -> int:
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    return int((pages - free) * size)
