"""The command `retrieval serve` as a process of its own on loopback."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from tests.conftest import PROJECT


class ServiceProcess:
    """A running service; `address` is its own.

    Args:
        folder: the project's folder, or any for collections that are named.
    """

    def __init__(self, folder: Path, log: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        foreign = ("RETRIEVAL_", "PYTHON")
        own = {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | {
            "PYTHONPATH": str(PROJECT),
            "RETRIEVAL_WORKERS": "2",
        }
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cli", "serve", "--port", "0", *arguments],
                cwd=folder,
                env=own | (environment or {}),
                stdout=stream,
                stderr=stream,
            )
        self.address = self._address()
        self.client = httpx.Client(base_url=self.address, timeout=60)
        while self.client.get("/healthz").status_code != 200:
            time.sleep(0.1)

    def _address(self) -> str:
        while not (found := re.search(r"http://\S+", self.said)):
            assert self.process.poll() is None, self.said
            time.sleep(0.1)
        return found[0]

    @property
    def said(self) -> str:
        """What the process wrote."""
        return self.log.read_text(encoding="utf-8")

    @property
    def memory(self) -> int:
        """Bytes that the process holds in memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def ask(self, photograph: bytes, **fields: Any) -> httpx.Response:
        """One question."""
        return self.client.post("/api/ask", files={"photograph": ("photo.jpg", photograph)}, data={key: str(value) for key, value in fields.items()})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
