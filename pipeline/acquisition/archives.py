"""Archives read as streams: members are handed over one by one, nothing is unpacked into the file system."""

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from pipeline.downloads.remote_file import download_again
from pipeline.stage.checksums import verify
from pipeline.stage.errors import SourceError

DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    LookupError,
)
"""What the readers of archives raise for bytes that are none, or that are encrypted or compressed in a way that they do not know."""
LARGEST_MEMBER = 2**30
BLOCK = 1 << 20


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Stream (name, content) of a tar (any compression) or zip archive's files, in archive order.

    Raises:
        SourceError: the archive is damaged, or a member is a link, a device, larger than 1 GiB, or named to leave the archive.
    """
    verify(path)
    try:
        yield from _zip_members(path) if zipfile.is_zipfile(path) else _tar_members(path)
    except DAMAGED as error:
        raise SourceError(f"{path}: damaged archive ({error}); {download_again(path)}") from None


def _tar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with _decompressed(path) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            yield from _members_of(path, archive)
        while stream.read(BLOCK):  # to the end, where the compression's own checksum stands
            pass


def _decompressed(path: Path) -> IO[bytes]:
    with path.open("rb") as raw:
        start = raw.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if start.startswith(b"BZh"):
        return bz2.open(path, "rb")
    return lzma.open(path, "rb") if start.startswith(b"\xfd7zXZ") else path.open("rb")


def _members_of(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        refuse_hostile(path, member.name, member.size)
        if member.isdir():
            continue
        if not member.isfile():
            raise SourceError(f"{path}: member {member.name!r} is a link or a device; the archive is refused")
        content = archive.extractfile(member)
        if content is not None:
            yield member.name, content.read()


def _zip_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            refuse_hostile(path, info.filename, info.file_size)
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                raise SourceError(f"{path}: member {info.filename!r} is a link; the archive is refused")
            if not info.is_dir():
                yield info.filename, archive.read(info)


def refuse_hostile(path: Path, name: str, size: int) -> None:
    """Raise SourceError for a member that is named to leave the archive, or is absurdly large."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name or (len(name) > 1 and name[1] == ":"):
        raise SourceError(f"{path}: member {name!r} would leave the archive's folder; the archive is refused")
    if size > LARGEST_MEMBER:
        raise SourceError(f"{path}: member {name!r} claims {size} bytes; more than {LARGEST_MEMBER} are refused")
