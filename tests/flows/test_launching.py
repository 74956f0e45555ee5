"""Starting flows from the command line: what goes wrong before they begin is one line."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import PROJECT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=kept | environment, capture_output=True, text=True, check=False)


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    done = run("setup", PREFECT_HOME=str(tmp_path), PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Prefect's server does not answer (Failed to reach API at http://127.0.0.1:9/api" in done.stderr.splitlines()[-1]


def test_setting_up_needs_a_server(tmp_path: Path) -> None:
    done = run("setup", PREFECT_HOME=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: no Prefect server is configured; set PREFECT_API_URL")
