"""Free space is looked at before a stage writes much."""

import shutil
from pathlib import Path

from pipeline.stage.errors import ShardError


def human_bytes(count: float) -> str:
    """A number of bytes for people: 1536 is '1.5 KiB'."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def require_free_space(folder: Path, needed: int, what: str) -> None:
    """Refuse work that would fill the disk.

    Args:
        folder: where the work will be written; need not exist yet.
        needed: estimate in bytes.
        what: the work, for the message.

    Raises:
        ShardError: less than `needed` bytes are free.
    """
    existing = folder.resolve()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ShardError(f"{what} needs about {human_bytes(needed)} in {folder}, but only {human_bytes(free)} are free there")
