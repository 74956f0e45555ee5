"""Outputs of stages as they were at an earlier commit, as far as DVC's cache still has them."""

from collections.abc import Iterable
from pathlib import Path


def copy_past_outputs(root: Path, revision: str, folders: Iterable[str], pattern: str, target: Path) -> None:
    """Copy the files of outputs as a commit recorded them, without touching the work tree.

    Args:
        folders: paths of outputs from the project's folder; those that the commit or the cache does not have are left out.
        pattern: of the names of the files that are copied.
        target: each file lies under it by its path from the project's folder.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    try:
        past = DVCFileSystem(str(root), rev=revision)
        for path in sorted(str(found) for folder in folders for found in past.glob(f"{folder}/{pattern}")):
            place = target / path
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                past.get_file(path, str(place))
            except (OSError, DvcException):
                place.unlink(missing_ok=True)
    except (OSError, DvcException):
        return  # the comparison does without
