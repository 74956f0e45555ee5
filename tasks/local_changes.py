"""Uncommitted changes of a checkout: DVC takes them out while it makes an experiment of them, and whoever is killed then leaves them out."""

import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.stage.errors import PipelineError
from tasks.workspace import git

log = logging.getLogger(__name__)
KEPT = "refs/retrieval/local-changes"
"""A commit of the local changes, as `git stash create` makes it, for as long as an experiment runs."""
BRANCH = "refs/retrieval/local-branch"
"""A symbolic reference to the branch that is checked out meanwhile."""


@contextmanager
def kept_changes(root: Path) -> Iterator[None]:
    """Whatever happens inside, tracked files and the branch are afterwards as before."""
    branch = git(root, "rev-parse", "--symbolic-full-name", "HEAD")
    if branch != "HEAD":
        git(root, "symbolic-ref", BRANCH, branch)
    made = git(root, "stash", "create")
    if made:
        git(root, "update-ref", KEPT, made)
    try:
        yield
    finally:
        give_back_changes(root)


def give_back_changes(root: Path) -> None:
    """Put back what an experiment that was killed left out; where files differ from the last commit by now, say where the changes lie."""
    named = git(root, "for-each-ref", "--format=%(refname)", KEPT, BRANCH).splitlines()
    if BRANCH in named:
        branch = git(root, "symbolic-ref", BRANCH)
        if git(root, "rev-parse", "--symbolic-full-name", "HEAD") == "HEAD" and git(root, "rev-parse", branch) == git(root, "rev-parse", "HEAD"):
            git(root, "symbolic-ref", "HEAD", branch)
        git(root, "symbolic-ref", "--delete", BRANCH)
    if KEPT not in named:
        return
    if not git(root, "diff", "HEAD"):
        git(root, "stash", "apply", KEPT)
        with contextlib.suppress(PipelineError):  # DVC's own, where it made one
            if git(root, "rev-parse", "stash@{0}^{tree}") == git(root, "rev-parse", f"{KEPT}^{{tree}}"):
                git(root, "stash", "drop", "--quiet")
        log.warning("Local changes that an experiment had taken out are back.")
    elif git(root, "diff", KEPT):
        log.warning("Local changes that an experiment left out when it was killed lie in %s; `git stash apply %s` puts them back.", KEPT, KEPT)
        return
    git(root, "update-ref", "-d", KEPT)
