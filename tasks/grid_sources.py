"""Records of folders of photographs for the cells of a grid, in whose checkouts Git puts only those that it knows."""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.stage import places
from pipeline.stage.parameters import read_section
from tasks.experiments import place_settings
from tasks.processes import run_checked
from tasks.workspace import folders

DIGITS = 8


def folder_records(root: Path, sections: Mapping[str, Any]) -> dict[str, bytes]:
    """Scan the folders that a grid's `sections` name and that are there; those of params.yaml have been scanned.

    Returns:
        the content of data/sources/NAME.json, by the data set's name: of params.yaml's folders and the grid's.

    Raises:
        PipelineError: a folder that cannot be looked at.
    """
    settings = place_settings(root)
    there = {name: section for name, section in folders(sections).items() if Path(settings["RETRIEVAL_DATA"], str(section.get("path", ""))).is_dir()}
    known = {name: root / places.source_record(name) for name in folders(read_section("", root / "params.yaml"))}
    own = {name: path.read_bytes() for name, path in known.items() if path.exists()}
    if not there:
        return own
    with tempfile.TemporaryDirectory(prefix="scan-") as place:
        Path(place, "params.yaml").write_text(json.dumps({"datasets": there}), encoding="utf-8")
        modules = os.pathsep.join(filter(None, (str(root.resolve()), os.environ.get("PYTHONPATH"))))
        run_checked(Path(place), sys.executable, "-m", "cli", "scan", *there, environment=settings | {"PYTHONPATH": modules})
        return own | {name: Path(place, places.source_record(name)).read_bytes() for name in there}


def state_with(state: str, records: Mapping[str, bytes]) -> str:
    """What cells run on: a digest of uncommitted changes, and one of the records where there are any."""
    if not records:
        return state
    return f"{state}+{hashlib.sha256(b''.join(name.encode() + record for name, record in sorted(records.items()))).hexdigest()[:DIGITS]}"


@contextmanager
def laid_out(root: Path, records: Mapping[str, bytes]) -> Iterator[list[str]]:
    """Records in data/sources, where experiments copy them from, for the time of a sweep; yields their paths. What was there comes back."""
    paths = {root / places.source_record(name): record for name, record in records.items()}
    before = {path: path.read_bytes() for path in paths if path.exists()}
    try:
        for path, record in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(record)
        yield [path.relative_to(root).as_posix() for path in paths]
    finally:
        for path in paths:
            if path in before:
                path.write_bytes(before[path])
            else:
                path.unlink(missing_ok=True)
