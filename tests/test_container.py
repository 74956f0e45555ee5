"""Dockerfile and compose.yaml against the project: what they copy exists and is let in, what they run and set is known."""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cli import app
from tasks.settings import setting_lines
from tests.conftest import PROJECT

DOCKERFILE = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
COPIED = [word for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]


def services() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return content


def test_what_is_copied_is_there_and_not_ignored() -> None:
    let_in = {line[1:] for line in (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    assert set(COPIED) == let_in
    assert all((PROJECT / name).exists() for name in COPIED)


def test_the_image_has_all_code_that_is_installed() -> None:
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    packages = re.search(r"include = \[(.*)\]", text)
    assert packages
    for pattern in re.findall(r'"(.*?)"', packages[1]):
        assert any(fnmatch.fnmatch(name, pattern) for name in COPIED), pattern


def test_make_has_the_steps_of_the_image(tmp_path: Path) -> None:
    """Make plans every step with the files that are copied before it, and with no others."""
    for line in DOCKERFILE.splitlines():
        if line.startswith("COPY "):
            for name in line.split()[1:-1]:
                source, target = PROJECT / name, tmp_path / name
                target.mkdir() if source.is_dir() else target.write_bytes(source.read_bytes())
        elif line.startswith("RUN make "):
            done = subprocess.run(["make", "--dry-run", *line.split()[2:]], cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "requirements.lock" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(services()))
def test_services_run_known_commands_with_known_variables(name: str) -> None:
    service = services()[name]
    known = {line.partition("=")[0] for line in setting_lines()} | {"RETRIEVAL_TOKEN", "PREFECT_API_URL", "PREFECT_API_DATABASE_CONNECTION_URL"}
    if "build" not in service:
        assert name == "database"
        return
    assert set(service.get("environment", {})) <= known
    program, *arguments = service["command"]
    if program == "retrieval":
        command: Any = typer.main.get_command(app)
        context = command.make_context(program, list(arguments), resilient_parsing=True)
        command.get_command(context, arguments[0]).make_context(arguments[0], list(arguments[1:]))  # refuses what it does not know
    else:
        assert program == "prefect"
        done = subprocess.run([sys.executable, "-m", "prefect", *arguments[:2], "--help"], capture_output=True, text=True, check=False)
        for option in arguments[2:]:
            assert not option.startswith("--") or option in done.stdout
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), "nothing listens to other machines"
