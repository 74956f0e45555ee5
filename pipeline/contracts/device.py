"""The device that arithmetic runs on, and the lock that gives one stage at a time the accelerator."""

import contextlib
import ctypes
import logging
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from pipeline.contracts.errors import ParameterError
from pipeline.contracts.settings import settings

log = logging.getLogger(__name__)
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def choose_device(name: str | None = None) -> torch.device:
    """The device that RETRIEVAL_DEVICE names, or the first CUDA device, or the processor.

    Raises:
        ParameterError: a CUDA device is asked for that is not there.
    """
    name = name or settings().device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ParameterError(f"RETRIEVAL_DEVICE={name}: {torch.cuda.device_count()} CUDA devices are visible; use cpu, or see `nvidia-smi`")
    return device


def visible_devices() -> list[torch.device]:
    """Every device that RETRIEVAL_DEVICE allows: all GPUs for `auto` and `cuda`, else the one it names."""
    device = choose_device()
    if device.type == "cuda" and settings().device in ("auto", "cuda"):
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [device]


@contextlib.contextmanager
def hold(device: torch.device) -> Iterator[torch.device]:
    """Hold a device for this process; waits while another process holds it. Any death of the process frees it."""
    prepare_processor()
    if device.type != "cuda":
        yield device
        return
    lock = FileLock(Path(tempfile.gettempdir()) / f"retrieval-cuda-{device.index or 0}.lock", mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("Waiting for %s: another stage holds it.", device)
        lock.acquire()
    try:
        yield device
    finally:
        lock.release()


def prepare_processor() -> None:
    """Use RETRIEVAL_WORKERS threads, and keep freed memory for the next batch.

    glibc hands every large block back to the system, and the page faults of getting it again take as long as the
    convolutions themselves; with these settings it is reused, by threads as well, whose own arenas would be given back.
    """
    torch.set_num_threads(settings().threads)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # float32 is to mean float32
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
