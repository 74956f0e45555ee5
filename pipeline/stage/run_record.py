"""What one run of a stage cost, written next to its first output: OUTPUT.run.json, which .dvcignore keeps out of every hash."""

import resource
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from pipeline.stage.tables import write_json

SUFFIX = ".run.json"


@dataclass(frozen=True)
class Produced:
    """What a stage's main returns.

    Attributes:
        outputs: its outputs in the order of dvc.yaml; the record lies next to the first.
        count: units worked on in this run, those of an interrupted earlier run left out.
        unit: their name in the plural.
    """

    outputs: tuple[Path, ...]
    count: int
    unit: str


@dataclass(frozen=True)
class RunRecord:
    """Measurements of one run.

    Attributes:
        started, finished: ISO 8601, UTC.
        seconds: from the start of the process, imports included.
        per_second: `count` over `seconds`.
        peak_memory_bytes: largest resident set of the process.
        peak_gpu_bytes: largest memory held by tensors, summed over devices; 0 without CUDA.
        bytes_written: size of the outputs.
    """

    started: str
    finished: str
    seconds: float
    count: int
    unit: str
    per_second: float
    peak_memory_bytes: int
    peak_gpu_bytes: int
    bytes_written: int


def record_path(output: Path) -> Path:
    """Where the record of the stage with this first output lies."""
    return output.with_name(output.name + SUFFIX)


def write_record(produced: Produced) -> RunRecord:
    """Measure this process, which is about to end, and write its record."""
    now, started = time.time(), psutil.Process().create_time()
    seconds = max(now - started, 1e-6)
    record = RunRecord(
        started=_iso(started),
        finished=_iso(now),
        seconds=round(seconds, 3),
        count=produced.count,
        unit=produced.unit,
        per_second=round(produced.count / seconds, 3),
        peak_memory_bytes=_peak_memory(),
        peak_gpu_bytes=_peak_gpu_memory(),
        bytes_written=sum(_size(output) for output in produced.outputs),
    )
    write_json(record_path(produced.outputs[0]), asdict(record))
    return record


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _peak_memory() -> int:
    """Linux's own mark of this program; getrusage would also count the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _peak_gpu_memory() -> int:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return sum(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count()))


def _size(output: Path) -> int:
    files = output.rglob("*") if output.is_dir() else [output]
    return sum(file.stat().st_size for file in files if file.is_file())
