"""Starting the flows from the command line: on the configured Prefect server, or on one that lives as long as the run."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.stage.errors import PipelineError
from tasks.execution import BEGUN, Execution
from tasks.rare_collections import collect_rarely
from tasks.temporary_server import TemporaryServer
from tasks.workspace import checkout_lock

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


class RunFailedError(PipelineError):
    """A flow that did not end well; the message names the stage and the reason."""


def has_server() -> bool:
    """True where PREFECT_API_URL, Prefect's profile or its project file names a server."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    if not may_have_server():
        return False
    from prefect.settings import get_current_settings

    return bool(get_current_settings().api.url)


def may_have_server() -> bool:
    """Whether a file in which Prefect looks for settings may name a server; Prefect itself, whose import takes seconds, is asked only then."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect"))
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml")).expanduser()
    files = [profiles, *(Path.cwd() / name for name in (".env", "prefect.toml", "pyproject.toml"))]
    address = re.compile(r"api[_.]url|prefect\.api|^\s*\[?api\b", re.IGNORECASE | re.MULTILINE)
    return any(address.search(file.read_text(encoding="utf-8")) for file in files if file.is_file())


def run_rebuild(root: Path, targets: list[str], overrides: list[str], *, force: bool, keep_going: bool, wait: bool) -> None:
    """Run the flow rebuild, its first stages while Prefect starts; without a server to show it on, nothing is started where nothing is to do.

    Raises:
        RunFailedError: a stage failed; the last lines name it, its reason, and what is missing now.
    """
    if overrides:
        _rebuild(None, targets, overrides, force=force, keep_going=keep_going, wait=wait)
        return
    with checkout_lock(root, wait=wait):
        execution = Execution(root, targets, force=force, keep_going=keep_going)
        try:
            if execution.plan.up_to_date and not has_server():
                print(f"{len(execution.plan.stages)} stages, all up to date.")
                return
            execution.begin()
            _rebuild(execution, targets, [], force=force, keep_going=keep_going, wait=wait)
        finally:
            execution.stop()


def _rebuild(execution: Execution | None, targets: list[str], overrides: list[str], *, force: bool, keep_going: bool, wait: bool) -> None:
    temporary = None if has_server() else TemporaryServer()
    collect_rarely()
    from flows.rebuild import rebuild

    if temporary is not None:
        temporary.wait()
    begun = BEGUN.set(execution)
    try:
        _show(lambda: rebuild(targets=targets, overrides=overrides, force=force, keep_going=keep_going, wait=wait, return_state=True))
    finally:
        BEGUN.reset(begun)


def run_sweep(file: str, *, keep_going: bool, wait: bool) -> None:
    """Run the flow sweep.

    Raises:
        RunFailedError: a cell failed, or the file cannot be used.
    """
    if not has_server():
        TemporaryServer().wait()
    collect_rarely()
    from flows.sweep import sweep

    _show(lambda: sweep(file=file, keep_going=keep_going, wait=wait, return_state=True))


def run_table(root: Path, name: str, *, small: bool, keep_going: bool, wait: bool) -> Path:
    """Run the grids of a published table; returns the place of its page.

    Raises:
        ParameterError: there is no such table.
        RunFailedError: a cell failed.
    """
    from tasks.published_tables import find_table, write_page

    wanted = find_table(root, name)
    failures = []
    for file in wanted.files(small):
        try:
            run_sweep(str(file), keep_going=keep_going, wait=wait)
        except RunFailedError as error:
            if not keep_going:
                raise
            failures.append(str(error))
    page = write_page(root, wanted, small).relative_to(root)
    if failures:
        raise RunFailedError(f"{page}: {'; '.join(failures)}")
    return page


def run_setup() -> None:
    """Run the flow setup on the configured server.

    Raises:
        RunFailedError: none is configured, or it refused.
    """
    if not has_server():
        raise RunFailedError("no Prefect server is configured; set PREFECT_API_URL, for instance to http://127.0.0.1:4200/api")
    from flows.setup import setup

    _show(lambda: setup(return_state=True))


def _show(run: "Callable[[], State[Any]]") -> None:
    """Run a flow; what goes wrong becomes one message."""
    try:
        state = run()
    except RuntimeError as error:
        if not str(error).startswith("Failed to reach API"):
            raise
        raise RunFailedError(f"Prefect's server does not answer ({error}); start it, or leave PREFECT_API_URL unset") from None
    if not state.is_completed():
        raise RunFailedError(state.message or state.name or "the run did not end well")
