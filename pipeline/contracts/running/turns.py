"""Turns on the processor: stages that compute use all threads they are given, so only as many of them compute at once as have cores."""

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.contracts.running.settings import cores, settings

log = logging.getLogger(__name__)
PAUSE = 0.1
"""Seconds between two looks for a free place."""


@contextlib.contextmanager
def file_lock(name: str, holder: str) -> Iterator[None]:
    """Hold a lock of this machine, waiting while another process has it; any death of the process frees it.

    Args:
        holder: what is waited for, for the log.
    """
    with _first_free([_lock(name)], holder):
        yield


@contextlib.contextmanager
def processor_turn() -> Iterator[None]:
    """Hold as many cores as RETRIEVAL_WORKERS names threads; waits while other stages compute on all of them."""
    places = max(1, cores() // settings().threads)
    with _first_free([_lock(f"processor-{place}") for place in range(places)], "the processor"):
        yield


@contextlib.contextmanager
def _first_free(locks: list[FileLock], holder: str) -> Iterator[None]:
    told = False
    while (taken := next((lock for lock in locks if _taken(lock)), None)) is None:
        if not told:
            log.info("Waiting for %s: another stage holds it.", holder)
            told = True
        time.sleep(PAUSE)
    try:
        yield
    finally:
        taken.release()


def _lock(name: str) -> FileLock:
    """One object per file, so that a process that has its turn does not wait for itself."""
    return FileLock(Path(tempfile.gettempdir()) / f"retrieval-{name}.lock", mode=0o666, is_singleton=True, thread_local=False)


def _taken(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
