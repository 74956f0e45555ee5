"""Starting flows from the command line: what goes wrong before they begin is one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.launching import may_have_server
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


ADDRESSES = [
    ("profiles.toml", 'active = "box"\n[profiles.box]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'),
    ("prefect.toml", '[api]\nurl = "http://127.0.0.1:9/api"\n'),
    ("prefect.toml", 'api.url = "http://127.0.0.1:9/api"\n'),
    ("pyproject.toml", '[tool.prefect.api]\nurl = "http://127.0.0.1:9/api"\n'),
    (".env", "PREFECT_API_URL=http://127.0.0.1:9/api\n"),
]


@pytest.mark.parametrize(("file", "content"), ADDRESSES)
def test_prefect_is_asked_wherever_a_file_may_name_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert not may_have_server()
    (tmp_path / file).write_text(content, encoding="utf-8")
    assert may_have_server()


@pytest.mark.parametrize(("content", "found"), [(ADDRESSES[0][1], True), ("", False)])
def test_a_server_of_the_profile_is_found_and_without_one_prefect_is_not_imported(tmp_path: Path, content: str, found: bool) -> None:
    (tmp_path / "profiles.toml").write_text(content, encoding="utf-8")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    code = "import sys; from flows.launching import has_server; print(has_server(), 'prefect' in sys.modules)"
    environment = kept | {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(found), str(found)]
