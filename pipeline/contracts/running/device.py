"""The device that arithmetic runs on, held by one stage at a time. Torch is imported when a device is asked for."""

import contextlib
import ctypes
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.contracts.running.settings import settings
from pipeline.contracts.running.turns import file_lock, processor_turn
from pipeline.stage.errors import ParameterError

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def choose_device(name: str | None = None) -> "torch.device":
    """The device that RETRIEVAL_DEVICE names, or the first CUDA device, or the processor.

    Raises:
        ParameterError: a CUDA device is asked for that is not there.
    """
    import torch

    name = name or settings().device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ParameterError(f"RETRIEVAL_DEVICE={name}: {torch.cuda.device_count()} CUDA devices are visible; use cpu, or see `nvidia-smi`")
    return device


def visible_devices() -> "list[torch.device]":
    """Every device that RETRIEVAL_DEVICE allows: all GPUs for `auto` and `cuda`, else the one it names."""
    import torch

    device = choose_device()
    if device.type == "cuda" and settings().device in ("auto", "cuda"):
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [device]


@contextlib.contextmanager
def hold(device: "torch.device") -> "Iterator[torch.device]":
    """Hold a device for this process: an accelerator, or a turn on the processor. Any death of the process frees it."""
    prepare_processor()
    turn = file_lock(f"cuda-{device.index or 0}", str(device)) if device.type == "cuda" else processor_turn()
    with turn:
        yield device


def prepare_processor() -> None:
    """Use RETRIEVAL_WORKERS threads, and keep freed memory for the next batch.

    glibc hands every large block back to the system, and the page faults of getting it again take as long as the
    convolutions themselves; with these settings it is reused, by threads as well, whose own arenas would be given back.
    """
    import torch

    torch.set_num_threads(settings().threads)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # float32 is to mean float32
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
