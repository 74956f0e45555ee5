"""A Prefect server on loopback that lives as long as one command, for runs on a machine where none is configured.

Prefect starts one by itself, too, but only after importing the whole server into the asking process; this one starts at
once, while the plan is made. It keeps its runs in Prefect's own database, so that a server started later shows them.
"""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx

from pipeline.stage.errors import PipelineError
from tasks.processes import supervised

PATIENCE = 600.0
"""Seconds that the server may take to answer; the first start makes its database."""
POLITE = ["nice", "-n", "5"] if shutil.which("nice") else []
"""The stages, which run meanwhile, come first."""


class TemporaryServer:
    """Starts without waiting; `wait` returns when it answers and makes it the process's server.

    It ends with the process, after Prefect's own exit handlers have sent what they still hold.
    """

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        environment = os.environ | {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1", "DO_NOT_TRACK": "1"}
        self._process = subprocess.Popen(  # its standard input closes when this process ends, whatever ends it
            supervised([*POLITE, sys.executable, "-m", "tasks.prefect_server", str(self.port)]),
            env=environment,
            cwd=Path.cwd(),
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            PipelineError: it ended, or does not answer in time.
        """
        deadline = time.monotonic() + PATIENCE
        no_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the address is without TLS, and reading certificates takes longer than asking
        with httpx.Client(verify=no_certificates, timeout=5) as client:
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    raise PipelineError("Prefect's server ended at once; `prefect server start` says why")
                try:
                    if client.get(f"{self.address}/health").is_success:
                        _use(self.address)
                        return
                except httpx.TransportError:
                    time.sleep(0.1)
        raise PipelineError(f"Prefect's server does not answer after {PATIENCE:.0f} s; `prefect server start` says why")


def _use(address: str) -> None:
    """Make an address that of this process's server; Prefect has read its settings already."""
    from prefect.context import refresh_global_settings_context

    os.environ["PREFECT_API_URL"] = address
    refresh_global_settings_context()
