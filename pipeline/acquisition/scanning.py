"""What a folder of photographs holds: files that can be images, and everything that is left out, with the reason."""

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.stage.errors import SourceError

ENDINGS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .tif .tiff .gif .bmp .webp .ppm .pgm .pbm .pnm .jp2 .j2k .heic .heif .hif .avif".split()  # noqa: SIM905
)
"""What is taken for an image; the content decides how it is decoded."""
LARGEST_FILE = 2**30
NOT_REGULAR, DEAD_LINK, FOLDER_LINK = "not a regular file", "a dead or circular link", "a link to a folder; set follow_links: true to follow it"
NOT_UTF8, TOO_LARGE, NO_ACCESS = "a name that is not UTF-8", "larger than 1 GiB", "not allowed to be read"


@dataclass
class Scan:
    """Paths from the folder's root with `/`, in a fixed order.

    Attributes:
        files: what can be an image.
        left_out: paths by reason; names that are not UTF-8 are escaped.
        other_endings: number of files by their ending.
        hidden: number of files that systems leave behind, and of hidden ones.
    """

    files: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    other_endings: dict[str, int] = field(default_factory=dict)
    hidden: int = 0

    def leave_out(self, path: str, reason: str) -> None:
        self.left_out.setdefault(reason, []).append(path)


def scan(root: Path, *, follow_links: bool = False, known: str | None = None) -> Scan:
    """Walk a folder without opening any file.

    Args:
        follow_links: take files and folders that links lead to, outside the folder as well.
        known: a file that is passed over without a word.

    Raises:
        SourceError: links lead outside the folder, and `follow_links` is not set.
    """
    found, outside = Scan(), list[str]()
    for path, entry in _walk(root, "", follow_links, found, {os.path.realpath(root)}):
        if path != known:
            _sort_in(root, path, entry, follow_links, found, outside)
    if outside:
        raise SourceError(
            f"{root}: {len(outside)} links lead outside the folder: {shown(outside)}; remove them, or set `follow_links: true` in the data set"
        )
    found.files.sort(key=lambda path: path.split("/"))
    for paths in found.left_out.values():
        paths.sort()
    return found


def shown(paths: list[str], at_most: int = 3) -> str:
    """The first of some paths, for a message."""
    return ", ".join(paths[:at_most]) + (", …" if len(paths) > at_most else "")


def escaped(path: str) -> str:
    """A path as text that can be printed and stored."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def alike(name: str) -> str:
    """Equal for names that people, and some systems, take for the same."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _walk(root: Path, inside: str, follow_links: bool, found: Scan, seen: set[str]) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Everything but folders, and links to folders that are not followed."""
    try:
        with os.scandir(root / inside if inside else root) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except PermissionError:
        found.leave_out(escaped(inside or "."), NO_ACCESS)
        return
    for entry in listed:
        path = f"{inside}/{entry.name}" if inside else entry.name
        if _left_behind(entry.name):
            found.hidden += 1
        elif _is_folder(entry) and (follow_links or not entry.is_symlink()):
            place = os.path.realpath(entry.path)
            if place in seen:
                found.leave_out(escaped(path), DEAD_LINK)
                continue
            yield from _walk(root, path, follow_links, found, seen | {place})
        else:
            yield path, entry


def _left_behind(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _sort_in(root: Path, path: str, entry: "os.DirEntry[str]", follow_links: bool, found: Scan, outside: list[str]) -> None:
    """Decide on one entry that is no folder, or is a link."""
    ending = os.path.splitext(entry.name)[1].lower()
    try:
        facts = entry.stat()
    except OSError:
        found.leave_out(escaped(path), DEAD_LINK)
        return
    if not stat.S_ISDIR(facts.st_mode) and ending not in ENDINGS:
        ending = escaped(ending) or "no ending"
        found.other_endings[ending] = found.other_endings.get(ending, 0) + 1
    elif reason := _reason(path, entry, facts):
        found.leave_out(escaped(path), reason)
    elif entry.is_symlink() and not follow_links and not Path(os.path.realpath(entry.path)).is_relative_to(os.path.realpath(root)):
        outside.append(escaped(path))
    elif stat.S_ISDIR(facts.st_mode):
        found.leave_out(escaped(path), FOLDER_LINK)
    else:
        found.files.append(path)


def _reason(path: str, entry: "os.DirEntry[str]", facts: os.stat_result) -> str | None:
    """Why something cannot be read as a file, or is no folder that can be walked."""
    if stat.S_ISDIR(facts.st_mode):
        return None
    if not stat.S_ISREG(facts.st_mode):
        return NOT_REGULAR
    if escaped(path) != path:
        return NOT_UTF8
    if facts.st_size > LARGEST_FILE:
        return TOO_LARGE
    return None if os.access(entry.path, os.R_OK) else NO_ACCESS
