"""The checkout that a run works on: its lock, its parameters, and its exchange with Git and DVC remotes."""

import hashlib
import json
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from pipeline.stage.errors import ParameterError, PipelineError
from pipeline.stage.parameters import read_section
from pipeline.stage.tables import write_json
from tasks.parameter_edits import apply_overrides
from tasks.processes import run_checked

log = logging.getLogger(__name__)
LOCK = Path(".dvc/tmp/retrieval.lock")
HOLDER = Path(".dvc/tmp/retrieval-holder.json")
SAVED = ("dvc.lock", "reports", "data/sources")
"""What a nightly run commits."""
REFUSED = re.compile(r"\[(remote )?rejected\]|permission denied|authentication failed", re.IGNORECASE)
"""What a remote says that answers, and does not want to."""
UNSAVED = "unsaved files"
"""What DVC says where it would overwrite outputs that are not in its cache."""
TRAILER = "Rebuilt-By: nightly"
"""The last line of a commit that a run made."""


class BusyError(PipelineError):
    """Another run works on this checkout."""


class RemoteError(PipelineError):
    """A remote did not answer or refused."""


@contextmanager
def checkout_lock(root: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a checkout for one run at a time; any death of the process frees it.

    Raises:
        BusyError: another run holds it and `wait` is off.
        PipelineError: the folder is no DVC project.
    """
    if not (root / ".dvc").is_dir():
        raise PipelineError(f"{root}: no DVC project; run the command in the project's folder")
    (root / LOCK).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / LOCK, is_singleton=True, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise BusyError(f"{root}: {_holder(root)} works on this checkout; wait for its end, or start this run with waiting on") from None
        log.warning("%s works on this checkout; waiting for its end.", _holder(root))
        lock.acquire()
    try:
        write_json(root / HOLDER, {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
        yield
    finally:
        lock.release()


def is_busy(root: Path) -> bool:
    """Whether a run holds the checkout now."""
    if not (root / LOCK).exists():
        return False
    try:
        with checkout_lock(root, wait=False):
            return False
    except BusyError:
        return True


def _holder(root: Path) -> str:
    try:
        holder = json.loads((root / HOLDER).read_text(encoding="utf-8"))
        return f"another run (process {holder['pid']}, since {holder['since']})"
    except (OSError, ValueError, KeyError):
        return "another run"


def check_parameters(root: Path) -> None:
    """Refuse a params.yaml that cannot be right before any work; in a process of its own, since it knows every room.

    Raises:
        ParameterError: with the line that says what is wrong.
    """
    try:
        run_checked(root, sys.executable, "-m", "cli", "check")
    except PipelineError as error:
        raise ParameterError(str(error).partition("failed: error: ")[2] or str(error)) from None


def scan_sources(root: Path) -> str:
    """Record what the folders of photographs hold now; returns what changed, in a line each.

    Raises:
        PipelineError: names the folders that cannot be looked at; their records are as before.
    """
    return run_checked(root, sys.executable, "-m", "cli", "scan").strip()


def scan_folders(root: Path) -> str:
    """`scan_sources` where params.yaml names a folder at all; the process that scans takes seconds to start. A folder that cannot be looked at
    is told in the line, and what was imported of it stays."""
    if not folders(read_section("", root / "params.yaml")):
        return ""
    try:
        return scan_sources(root)
    except PipelineError as error:
        log.warning("%s", error)
        return str(error)


def folders(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The data sets of the source `folder`, by their names."""
    return {name: own for name, own in parameters.get("datasets", {}).items() if isinstance(own, dict) and own.get("source") == "folder"}


def set_parameters(root: Path, overrides: list[str]) -> None:
    """Set parameters as `path=value`; params.yaml is as before where the result would not be right.

    Raises:
        ParameterError: an override that does not fit.
    """
    file = root / "params.yaml"
    before = file.read_bytes()
    try:
        apply_overrides(file, overrides)
        check_parameters(root)
    except ParameterError:
        file.write_bytes(before)
        raise


def save_experiment(root: Path, overrides: list[str]) -> str:
    """Keep the checkout's state as a DVC experiment and return its name; the same overrides replace it.

    `dvc exp save` first records every output as made from what its inputs are now, also where the stage did not run. Here
    dvc.lock is kept as the stages that ran left it.
    """
    name, head = experiment_name(overrides), git(root, "rev-parse", "HEAD")
    with tempfile.TemporaryDirectory(prefix="experiment-") as place:
        own = {"GIT_INDEX_FILE": str(Path(place, "index"))}
        git(root, "read-tree", "HEAD", **own)
        git(root, "add", "--update", **own)
        git(root, "add", "--", *(saved for saved in SAVED if (root / saved).exists()), **own)
        tree = git(root, "write-tree", **own)
    commit = git(root, *_identity(root), "commit-tree", tree, "-p", head, "-m", f"Experiment {name}: {' '.join(overrides)}")
    git(root, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", commit)
    return name


def _identity(root: Path) -> list[str]:
    """Options that name an author where Git has none."""
    known = git(root, "config", "--get", "--default", "", "user.email")
    return [] if known else ["-c", "user.name=retrieval", "-c", "user.email=retrieval@localhost"]


def experiment_name(overrides: list[str]) -> str:
    """A readable name that is the same for the same overrides."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(part.rpartition(".")[2] for part in overrides)).strip("-")[:48]
    return f"{readable}-{hashlib.sha256(json.dumps(sorted(overrides)).encode()).hexdigest()[:8]}"


def git(root: Path, *arguments: str, **environment: str) -> str:
    """Run git without asking for passwords, with variables of the environment; returns what it printed.

    Raises:
        PipelineError: git failed.
    """
    return run_checked(root, "git", *arguments, environment=environment).rstrip("\n")


def is_repository(root: Path) -> bool:
    """True in a Git checkout with at least one commit."""
    try:
        git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    except PipelineError:
        return False
    return True


def local_changes(root: Path) -> list[str]:
    """Tracked files that differ from the last commit."""
    return _changed(root, "--untracked-files=no")


def _changed(root: Path, *options: str) -> list[str]:
    """Names of files that `git status` lists."""
    entries = iter(git(root, "status", "--porcelain", "-z", *options).split("\0"))
    found = []
    for entry in filter(None, entries):
        found.append(entry[3:])
        if entry[0] in "RC":
            next(entries, None)  # the name before
    return found


def refuse_local_changes(root: Path) -> None:
    """Local work is never overwritten nor committed by a run; what SAVED names is what runs themselves leave.

    Raises:
        PipelineError: other tracked files differ from the last commit.
    """
    changed = [name for name in local_changes(root) if not any(PurePosixPath(name).is_relative_to(saved) for saved in SAVED)]
    if changed:
        named = ", ".join(changed[:3])
        raise PipelineError(f"{root}: {len(changed)} tracked files differ from the last commit ({named}); commit or stash them first")


def update_checkout(root: Path) -> str:
    """Fetch, and fast-forward the present branch to its upstream; returns what happened.

    Results that no run has committed are stashed where the upstream has news, and commits of earlier runs that could not
    be pushed are set aside under refs/unpushed/: both are made anew from DVC's cache by the rebuild.

    Raises:
        RemoteError: the upstream does not answer.
        PipelineError: no upstream, somebody's commits that the upstream lacks while there are new ones there, or local changes.
    """
    refuse_local_changes(root)
    _ask_remote(root, "git", "fetch", "--quiet")
    before = git(root, "rev-parse", "--short", "HEAD")
    ahead, behind = (int(number) for number in git(root, "rev-list", "--left-right", "--count", "HEAD...@{upstream}").split())
    if not behind:
        return f"{before}, nothing new"
    if ahead:
        _set_aside(root, ahead, behind)
    left = _left_results(root)
    if left:
        git(root, "stash", "push", "--quiet", "--include-untracked", "--message", "results before an update", "--", *left)
    git(root, "merge", "--ff-only", "--quiet", "@{upstream}")
    return f"{before} to {git(root, 'rev-parse', '--short', 'HEAD')}, {behind} new commits"


def _set_aside(root: Path, ahead: int, behind: int) -> None:
    """Take commits that runs made, and nobody else, off the branch; a reference keeps them."""
    messages = git(root, "log", "--format=%B%x00", "@{upstream}..HEAD").split("\0")
    if not all(TRAILER in message for message in messages if message.strip()):
        raise PipelineError(f"{root}: {ahead} local commits and {behind} new ones upstream; rebase by hand, then run again")
    commit = git(root, "rev-parse", "HEAD")
    git(root, "update-ref", f"refs/unpushed/{commit[:12]}", commit)
    git(root, "reset", "--quiet", "--soft", git(root, "merge-base", "HEAD", "@{upstream}"))
    git(root, "reset", "--quiet")


def _left_results(root: Path) -> list[str]:
    """Result files that differ from the last commit or are not in it."""
    return _changed(root, "--untracked-files=all", "--", *SAVED)


def pull_data(root: Path) -> str:
    """Fetch outputs and the run cache from the DVC remote and check out those of dvc.lock; what it lacks will be computed.

    Raises:
        RemoteError: the remote cannot be reached or refuses.
    """
    if not has_remote(root):
        return "no DVC remote is configured"
    try:
        run_checked(root, sys.executable, "-m", "dvc", "--wait-for-lock", "pull", "--run-cache", "--allow-missing")
    except PipelineError as error:
        if UNSAVED not in str(error):
            raise RemoteError(str(error)) from None
        return "fetched, but not checked out over outputs that a killed stage left unsaved; the rebuild makes them again"
    return "fetched"


def push_data(root: Path) -> None:
    """Send outputs and the run cache to the DVC remote.

    Raises:
        RemoteError: the remote cannot be reached or refuses.
    """
    _ask_remote(root, sys.executable, "-m", "dvc", "--wait-for-lock", "push", "--run-cache")


def has_remote(root: Path) -> bool:
    """True where a default DVC remote is configured."""
    try:
        return bool(run_checked(root, sys.executable, "-m", "dvc", "config", "core.remote").strip())
    except PipelineError:
        return False


def commit_results(root: Path, message: str) -> str:
    """Commit dvc.lock, reports and records of sources, nothing else; returns the commit's short name, or nothing where they are as committed."""
    changed = _left_results(root)
    if not changed:
        return ""
    git(root, "add", "--", *changed)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as text:
        text.write(message)
        text.flush()
        git(root, *_identity(root), "commit", "--quiet", "--file", text.name, "--only", "--", *changed)
    return git(root, "rev-parse", "--short", "HEAD")


def push_commits(root: Path) -> None:
    """Push the present branch to its upstream.

    Raises:
        RemoteError: the upstream cannot be reached.
        PipelineError: it refuses, for instance since it has new commits.
    """
    _ask_remote(root, "git", "push", "--quiet")


def _ask_remote(root: Path, *command: str) -> None:
    try:
        run_checked(root, *command)
    except PipelineError as error:
        if REFUSED.search(str(error)):
            raise  # asking again does not help
        raise RemoteError(str(error)) from None
