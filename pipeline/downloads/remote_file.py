"""A file that is published somewhere."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        url: where it is published.
        name: what it is called in data/raw/DATASET.
        bytes: its size, where published.
        checksum: 'sha256:…' or 'md5:…', where published; a prefix of the digest will do.
    """

    url: str
    name: str
    bytes: int | None = None
    checksum: str | None = None


def download_again(path: Path) -> str:
    """What to do about a damaged file of data/raw/DATASET, which DVC would restore from its cache where it is only removed."""
    return f"get it again with `dvc repro --force --single-item download@{path.parent.name}`"
