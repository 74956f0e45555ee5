"""Checking one data set: source, files, images, catalogue and ground truth; every problem is one line, and so is what is there."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from pipeline.acquisition.folder import Folder
from pipeline.acquisition.packing import KIND as RAW
from pipeline.acquisition.params import load_dataset
from pipeline.acquisition.sources import Dataset, Photograph
from pipeline.acquisition.summary import counts
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.settings import settings
from pipeline.imaging.params import ResizeParameters
from pipeline.imaging.preparation import prepare
from pipeline.stage import places
from pipeline.stage.catalogue import CatalogueRow, GroundTruth, read_catalogue, read_ground_truth
from pipeline.stage.errors import PipelineError
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import load_section, read_section

RELEVANT = {"good", "ok", "easy", "hard"}
MOST_LINES = 20
"""Of one kind; more are counted."""
AT_ONCE = 64
"""Photographs read before their images are checked."""


@dataclass
class Findings:
    """What is wrong with a data set, and what it holds."""

    problems: list[str] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)


def validate_dataset(name: str) -> Findings:
    """Look at a data set of params.yaml: at its source where no stage has run or one failed, else at what the stages made of it.

    Raises:
        ParameterError: its section does not fit.
    """
    dataset, found = load_dataset(name), Findings()
    raw, images = places.raw(name), places.images(name)
    try:
        found.summary += [f"{name}: {line}" for line in dataset.summary()]
        found.problems += _changed_since_import(name, dataset)
        found.problems += _damaged(raw) if raw.exists() else []
        if images.exists():
            rows, truth = read_catalogue(images / places.CATALOGUE), read_ground_truth(images / places.GROUND_TRUTH)
        elif isinstance(dataset, Folder) or raw.exists():
            source = dataset.source_photographs() if isinstance(dataset, Folder) else dataset.photographs(raw)
            rows = list(_looked_at(source))
            truth = dataset.ground_truth(raw, rows)
        else:
            found.problems.append(f"{name}: not downloaded yet; run `dvc repro download@{name}`")
            return found
    except PipelineError as error:
        found.problems.append(str(error))
        return found
    if not found.summary:
        found.summary.append(f"{name}: {counts((row.role, row.instance) for row in rows)}")
    found.problems += [*_catalogue_problems(name, dataset, rows), *_truth_problems(name, truth, rows)]
    return found


def _looked_at(photographs: Iterable[Photograph]) -> Iterator[CatalogueRow]:
    """The catalogue that the stage resize would make."""
    parameters = load_section(ResizeParameters, "resize")
    photographs = iter(photographs)
    with ThreadPoolExecutor(settings().threads) as pool, Progress("validate", 0, "images") as progress:
        while group := list(islice(photographs, AT_ONCE)):
            for row, _ in pool.map(partial(prepare, parameters=parameters), group):
                yield row
            progress.advance(len(group))


def _changed_since_import(name: str, dataset: Dataset) -> list[str]:
    """For a folder: whether it still is what was imported."""
    source = places.raw(name) / "SOURCE.json"
    if not isinstance(dataset, Folder) or not source.exists():
        return []
    imported = json.loads(source.read_text(encoding="utf-8")).get("files", {})
    paths = {record["path"] for record in dataset.contents.records}
    now = {path: file_sha256(dataset.root / path) for path in paths}
    changed = sorted(path for path in imported.keys() | now.keys() if imported.get(path) != now.get(path))
    return [f"{name}: {len(changed)} files changed since the import, the first is {changed[0]}; run `retrieval repro`"] if changed else []


def _damaged(raw: Path) -> list[str]:
    manifest = load_manifest(raw, RAW)
    wrong = [part.name for part in manifest.parts if not (raw / part.name).exists() or file_sha256(raw / part.name) != part.sha256]
    return [f"{raw / name}: missing or changed since the download; remove the folder and run `dvc repro`" for name in wrong]


def _catalogue_problems(name: str, dataset: Dataset, rows: list[CatalogueRow]) -> Iterator[str]:
    yield from (f"{name}: {row.path}: {row.status}" for row in rows if not row.readable and row.path not in dataset.unreadable)
    expected, found = dataset.catalogued, sum(row.role != "query" for row in rows)
    if dataset.files() and expected is not None and found != expected:
        yield f"{name}: {found} images, {expected} are published"
    seen: dict[str, str] = {}
    for row in rows:
        if row.role == "database" and row.sha256 in seen:
            yield f"{name}: {row.image_id} is the same file as {seen[row.sha256]}"
        seen.setdefault(row.sha256, row.image_id)


def _truth_problems(name: str, truth: GroundTruth, rows: list[CatalogueRow]) -> Iterator[str]:
    known = {row.image_id for row in rows}
    answered = {query for query, _, relevance in truth.rows if relevance in RELEVANT}
    unanswered = [query for query in truth.queries if query not in answered]
    if len(unanswered) > MOST_LINES:
        yield f"{name}: {len(unanswered)} queries have no positive and will be left out of the mean, the first is {unanswered[0]}"
    else:
        yield from (f"{name}: query {query} has no positive and will be left out of the mean" for query in unanswered)
    yield from (f"{name}: query {query} is not in the catalogue" for query in truth.queries if query not in known)
    yield from (f"{name}: the ground truth names {image}, which is not in the catalogue" for _, image, _ in truth.rows if image not in known)
    if any(benchmark["dataset"] == name for benchmark in (read_section("").get("benchmarks") or {}).values()):
        if not any(row.role == "database" and row.readable for row in rows):
            yield f"{name}: no image of role database, so that a benchmark has nothing to search"
        if not truth.queries:
            yield f"{name}: nothing to ask: no image of role query, and no instance with two images of role database"
