"""Archives for tests: tar, zip and stored RAR with chosen members, hostile ones included."""

import io
import struct
import tarfile
import zipfile
import zlib
from typing import Any


def tar(members: dict[str, bytes], compression: str = "gz", links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    mode: Any = f"w:{compression}"
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def rar(members: dict[str, bytes], method: int = 0x30) -> bytes:
    """A RAR 3 archive whose members are stored; another method makes their content undecodable."""

    def block(kind: int, flags: int, body: bytes) -> bytes:
        rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest

    parts = [b"Rar!\x1a\x07\x00", block(0x73, 0, b"\0" * 6)]
    for name, content in members.items():
        encoded = name.replace("/", "\\").encode()
        size, crc = len(content), zlib.crc32(content)
        fields = struct.pack("<IIBIIBBHI", size, size, 2, crc, 0x21, 29, method, len(encoded), 0x20)
        parts += [block(0x74, 0x8000, fields + encoded), content]
    return b"".join([*parts, block(0x7B, 0x4000, b"")])
