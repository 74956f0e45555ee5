"""A real Prefect server and worker on loopback, with a home of their own, for tests of deployments."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests import warm_python

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class PrefectStack:
    """Server and worker of one checkout; both can be killed and started again.

    Args:
        variables: further ones of their environment.
    """

    def __init__(self, home: Path, checkout: Path, **variables: str) -> None:
        self.home, self.checkout, self.variables = home, checkout, variables
        home.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.client = httpx.Client(verify=False, timeout=30)  # one for all requests: making one takes longer than a request
        self.server: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        foreign = ("RETRIEVAL_", "PREFECT_", "PYTHON")
        kept = {key: value for key, value in os.environ.items() if key == "RETRIEVAL_WORKERS" or not key.startswith(foreign)}
        own = {
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "RETRIEVAL_PYTHON": warm_python.for_stages(),
        }
        return kept | own | self.variables

    def _start(self, log: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.home / log).open("ab") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.checkout,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def start_server(self) -> None:
        self.server = self._start("server.log", "tasks.prefect_server", str(self.port))  # `prefect server start` imports the server twice
        while True:
            try:
                if self.client.get(f"{self.api}/health").is_success:
                    return
            except httpx.TransportError:
                pass
            assert self.server.poll() is None, (self.home / "server.log").read_text(encoding="utf-8")[-2000:]
            time.sleep(0.2)

    def start_worker(self) -> None:
        self.worker = self._start("worker.log", "prefect", "worker", "start", "--pool", "gpu-box", "--name", f"worker-{time.monotonic_ns()}")

    def start_runs_by(self, program: str) -> None:
        """Let the worker start the runs of all deployments by this Python instead of its own."""
        for found in self.ask("POST", "/deployments/filter"):
            variables = found["job_variables"] | {"command": f"{program} -m prefect.engine"}
            self.ask("PATCH", f"/deployments/{found['id']}", job_variables=variables)

    def retrieval(self, *arguments: str) -> str:
        """Run the `retrieval` command to a good end."""
        done = subprocess.run(
            [warm_python.for_flows(), "-m", "cli", *arguments],
            cwd=self.checkout,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Ask the API; a database that is busy answers 503, and is asked again as Prefect's own client does."""
        for _ in range(20):
            response = self.client.request(method, self.api + path, json=body or None)
            if response.status_code != 503:
                break
            time.sleep(0.5)
        response.raise_for_status()
        return response.json() if response.content else None

    def trigger(self, deployment: str, **parameters: Any) -> str:
        """Start a run of a deployment ('nightly/nightly'); returns its id."""
        found = self.ask("GET", f"/deployments/name/{deployment}")
        run = self.ask("POST", f"/deployments/{found['id']}/create_flow_run", parameters=parameters, state={"type": "SCHEDULED"})
        return str(run["id"])

    def state(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/flow_runs/{run}")["state"]
        return found

    def wait(self, run: str) -> dict[str, Any]:
        """The run's state once it has ended."""
        while (state := self.state(run))["type"] not in ENDED:
            for name, process in (("server", self.server), ("worker", self.worker)):
                assert process is None or process.poll() is None, (self.home / f"{name}.log").read_text(encoding="utf-8")[-4000:]
            time.sleep(0.2)
        return state

    def task_states(self, run: str) -> dict[str, str]:
        """State names of a run's tasks by their names."""
        found: list[dict[str, Any]] = []
        while True:  # the server files task runs from a queue
            before, found = found, self.ask("POST", "/task_runs/filter", flow_runs={"id": {"any_": [run]}}, limit=200)
            if found == before and all(task["state"]["type"] in ENDED for task in found):
                return {task["name"]: task["state"]["name"] for task in found}
            time.sleep(1.5)

    def artifacts(self, run: str) -> dict[str, Any]:
        """A run's artifacts by key."""
        found = self.ask("POST", "/artifacts/filter", flow_runs={"id": {"any_": [run]}}, limit=200)
        return {artifact["key"]: artifact for artifact in found}

    def stop(self) -> None:
        """End both at once; nothing of their home is needed any more."""
        self.client.close()
        for process in (self.worker, self.server):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
