"""Short digests that say whether two pieces of work are the same: of values, files and code."""

import hashlib
import json
from pathlib import Path
from typing import Any

CODE_ROOT = Path(__file__).resolve().parent.parent


def fingerprint(*values: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of the values' canonical JSON."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_fingerprint(*rooms: str) -> str:
    """Digest of the source files of the named rooms of pipeline/."""
    files = sorted(file for room in rooms for file in (CODE_ROOT / room).rglob("*.py"))
    return fingerprint([(file.relative_to(CODE_ROOT).as_posix(), file_sha256(file)) for file in files])
