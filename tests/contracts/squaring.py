"""Work for tests of executors: the square of each number, and ways to fail."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.contracts.executors.executing import Done, Place, Worker
from pipeline.stage.errors import ImageError


@dataclass(frozen=True)
class Square:
    """A task."""

    number: int

    @property
    def name(self) -> str:
        return f"part-{self.number:05d}"

    @property
    def images(self) -> int:
        return self.number

    @property
    def reads(self) -> tuple[Path, ...]:
        return ()


@dataclass(frozen=True)
class Squaring:
    """Work: the square of each number; a line in `log` for every beginning. A number is refused, one kills who takes it, one
    kills who takes it first."""

    log: Path
    refused: int = -1
    deadly: int = -1
    deadly_once: int = -1
    pause: float = 0.0
    on_gpu: bool = False

    def reads(self, _folder: Path) -> tuple[Path, ...]:
        return ()

    def open(self, place: Place) -> Worker:
        def write(task: Square) -> Done:
            with self.log.open("a", encoding="utf-8") as stream:
                stream.write(f"{task.number} {os.getpid()}\n")
            if task.number == self.refused:
                raise ImageError(f"image {task.number} is broken; take it away")
            first = self.log.read_text(encoding="utf-8").count(f"{task.number} ") == 1
            if task.number == self.deadly or (task.number == self.deadly_once and first):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.pause)
            (place.folder / f"{task.name}.txt").write_text(str(task.number**2))
            place.advance(task.images, 0)
            return Done([f"{task.name}.txt"], task.images, task.images, {"square": task.number**2})

        return write
