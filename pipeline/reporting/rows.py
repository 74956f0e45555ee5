"""Rows of the CSV tables that the report shows."""

import csv
from pathlib import Path

from pipeline.contracts.errors import ShardError


def read_rows(path: Path, made_by: str = "`dvc repro`") -> list[dict[str, str]]:
    """All rows of a table, by heading.

    Raises:
        ShardError: it is not there; `made_by` is the command that makes it.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except FileNotFoundError:
        raise ShardError(f"{path}: not found; make it with {made_by}") from None
