"""Folders that a process works in and removes at its end; those of processes that died are removed by the next one."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held_folder(parent: Path) -> Iterator[Path]:
    """A new hidden folder below another, held until the block ends and removed then; folders of this kind that nobody holds are removed before."""
    for leftover in parent.glob(".*.partial"):
        if (held := _hold(leftover)) is not None:
            shutil.rmtree(leftover, ignore_errors=True)
            os.close(held)
    folder, held = _new(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _new(parent: Path) -> tuple[Path, int]:
    """A new folder and the descriptor that holds it; once more where another process took it for a leftover in between."""
    while True:
        folder = parent / f".{secrets.token_hex(8)}.partial"
        folder.mkdir(parents=True)
        if (held := _hold(folder)) is not None:
            if folder.exists():
                return folder, held
            os.close(held)


def _hold(folder: Path) -> int | None:
    """A descriptor that holds a folder until it is closed; None where another process holds it, or where it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
