"""Checking one data set: source, files, catalogue and ground truth; every problem is one line."""

import hashlib
import json
from pathlib import Path

from pipeline.acquisition.folder import Folder
from pipeline.acquisition.params import load_dataset
from pipeline.acquisition.sources import Dataset
from pipeline.stage import places
from pipeline.stage.catalogue import CatalogueRow, GroundTruth, read_catalogue, read_ground_truth
from pipeline.stage.errors import PipelineError
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.manifest import load_manifest

RELEVANT = {"good", "ok", "easy", "hard"}


def validate_dataset(name: str) -> list[str]:
    """Everything that is wrong with a data set of params.yaml; empty where nothing is.

    Raises:
        ParameterError: its section does not fit.
    """
    dataset = load_dataset(name)
    problems = _source_problems(name, dataset)
    raw, images = places.raw(name), places.images(name)
    if not raw.exists():
        return problems or [f"{name}: not downloaded yet; run `dvc repro download@{name}`"]
    problems += _damaged(raw)
    if not images.exists():
        return problems or [f"{name}: images are not made yet; run `dvc repro resize@{name}`"]
    rows = read_catalogue(images / places.CATALOGUE)
    return problems + _catalogue_problems(name, dataset, rows) + _truth_problems(name, read_ground_truth(images / places.GROUND_TRUTH), rows)


def _source_problems(name: str, dataset: Dataset) -> list[str]:
    """For a folder: whether it can be read, and whether it is still what was imported."""
    if not isinstance(dataset, Folder):
        return []
    try:
        records = dataset.records()
    except PipelineError as error:
        return [str(error)]
    source = places.raw(name) / "SOURCE.json"
    if not source.exists():
        return []
    imported = json.loads(source.read_text(encoding="utf-8")).get("files", {})
    now = {record["path"]: hashlib.sha256((dataset.root / record["path"]).read_bytes()).hexdigest() for record in records}
    changed = sorted(path for path in imported.keys() | now.keys() if imported.get(path) != now.get(path))
    return (
        [f"{name}: {len(changed)} files changed since the import, the first is {changed[0]}; run `dvc repro --force download@{name}`"]
        if changed
        else []
    )


def _damaged(raw: Path) -> list[str]:
    manifest = load_manifest(raw, "raw files")
    wrong = [part.name for part in manifest.parts if not (raw / part.name).exists() or file_sha256(raw / part.name) != part.sha256]
    return [f"{raw / name}: missing or changed since the download; remove the folder and run `dvc repro`" for name in wrong]


def _catalogue_problems(name: str, dataset: Dataset, rows: list[CatalogueRow]) -> list[str]:
    problems = [f"{name}: {row.path}: {row.status}" for row in rows if not row.readable and row.path not in dataset.unreadable]
    expected, found = dataset.images, sum(row.role != "query" for row in rows)
    if dataset.files() and expected is not None and found != expected:
        problems.append(f"{name}: {found} images, {expected} are published")
    seen: dict[str, str] = {}
    for row in rows:
        if row.role == "database" and row.sha256 in seen:
            problems.append(f"{name}: {row.image_id} is the same file as {seen[row.sha256]}")
        seen.setdefault(row.sha256, row.image_id)
    return problems


def _truth_problems(name: str, truth: GroundTruth, rows: list[CatalogueRow]) -> list[str]:
    known = {row.image_id for row in rows}
    answered = {query for query, _, relevance in truth.rows if relevance in RELEVANT}
    problems = [f"{name}: query {query} has no positive and will be left out of the mean" for query in truth.queries if query not in answered]
    problems += [f"{name}: query {query} is not in the catalogue" for query in truth.queries if query not in known]
    return problems + [f"{name}: the ground truth names {image}, which is not in the catalogue" for _, image, _ in truth.rows if image not in known]
