"""Studies behind the papers' figures of single images: what those of a sweep's cells measured, as tables."""

import json
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.stage import places
from pipeline.stage.text_tables import markdown
from tasks.past_outputs import copy_past_outputs
from tasks.workspace import git

Study = dict[str, Any]
Row = dict[str, str]

SECTIONS = {"mask_study": "masks", "patch_study": "patch_similarity", "region_study": "regions", "activation_study": "activations"}
"""By the section of params.yaml that asks for a study, the study's folder in reports/."""
HALF = 0.5
"""Regions of at least this precision are counted."""


def studies_of(root: Path, commit: str, sections: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Study]]:
    """What the studies that a grid's sections ask for wrote at a commit, by study and benchmark.

    A study that DVC's cache has lost is not among them.
    """
    wanted = {SECTIONS[section]: benchmarks for section, benchmarks in sections.items() if section in SECTIONS}
    if not wanted:
        return {}
    with tempfile.TemporaryDirectory(prefix="studies-") as place:
        copy_past_outputs(root, commit, [str(places.REPORTS / study) for study in wanted], "*.json", Path(place))
        found: dict[str, dict[str, Study]] = {}
        for study, benchmarks in wanted.items():
            files = {name: Path(place, places.study(study, name)) for name in benchmarks}
            found[study] = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}
        return found


def lost_studies(root: Path, commit: str, sections: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Study]]) -> bool:
    """Whether an experiment has recorded a study that is not among those `found`, as DVC's cache no longer holds it."""
    wanted = [(SECTIONS[section], name) for section, benchmarks in sections.items() if section in SECTIONS for name in benchmarks]
    missing = [places.study(study, name).as_posix() for study, name in wanted if name not in found[study]]
    if not missing:
        return False
    recorded = git(root, "show", f"{commit}:dvc.lock")
    return any(path in recorded for path in missing)


def _masks(content: Study) -> Iterator[Row]:
    """Paper 3, fig. 3: features that each mask keeps, and pairs of them with a cosine near 0."""
    near = f"pairs with |cos| ≤ {content['near_orthogonal_limit']:g}"
    for mask, own in content["masks"].items():
        yield {"mask": mask, "images": str(content["images"]), "features kept": _share(own["kept"]), near: _share(own["near_orthogonal"])}


def _regions(content: Study) -> Iterator[Row]:
    """Paper 2, fig. 4: precision of the regions of each way, of queries that have a box."""
    half = bisect_left(content.get("thresholds", ()), HALF)
    for way, own in content.get("ways", {}).items():
        row = {"regions by": way, "queries": str(content["queries"]), "regions": str(own["regions"])}
        yield row | {"mean precision": _share(own["mean"]), f"regions of precision ≥ {HALF:g}": _share(own["reached"][half])}


def _patch_similarity(content: Study) -> Iterator[Row]:
    """Paper 1, fig. 4: similarity of a square and its view at another scale or place, by way of searching."""
    for way, own in content.get("variants", {}).items():
        scales = {f"scale {scale:g}": _share(value) for scale, value in zip(content["scales"], own["scale"], strict=True)}
        shifts = {f"shift {shift:g}": _share(value) for shift, value in zip(content["shifts"], own["shift"], strict=True)}
        yield {"search": way, "squares": str(content["squares"])} | scales | shifts | {"unrelated": _share(own["unrelated"])}


def _activations(content: Study) -> Iterator[Row]:
    """Paper 4, fig. 3.1: the network whose classifier is asked, how many photographs are shown, and why none are."""
    yield {"classifier of": content["network"], "photographs": str(len(content["pictures"])), "reason": content["reason"]}


SEEN = (
    "Where the table was run, `dvc exp apply EXPERIMENT` puts the results of a row into the checkout; "
    "`reports/index.html` then shows its curves and pictures."
)
ROWS: dict[str, Callable[[Study], Iterator[Row]]] = {
    "masks": _masks,
    "patch_similarity": _patch_similarity,
    "regions": _regions,
    "activations": _activations,
}


def _share(value: float) -> str:
    return f"{value:.4f}"


def study_tables(cells: Sequence[tuple[Mapping[str, str], str, Mapping[str, Mapping[str, Study]]]]) -> dict[str, list[Row]]:
    """The rows of each study.

    Args:
        cells: of each its labels by axis, its experiment, and its studies by study and benchmark.
    """
    tables: dict[str, list[Row]] = {}
    for labels, experiment, studies in cells:
        for study, benchmarks in studies.items():
            for benchmark, content in benchmarks.items():
                rows = ({**labels, "benchmark": benchmark} | row | {"experiment": experiment} for row in ROWS[study](content))
                tables.setdefault(study, []).extend(rows)
    return tables


def headings_of(rows: Sequence[Row]) -> list[str]:
    """Those of all rows, in the order in which rows first have them."""
    return list(dict.fromkeys(heading for row in rows for heading in row))


def study_text(headings: Sequence[str], rows: Sequence[Row]) -> str:
    """The rows as Markdown, and how their pictures are seen."""
    if not rows:
        return "No cell has run this study, or DVC's cache has lost what it wrote; run the table again."
    shown = markdown(headings, ([row.get(heading, "") for heading in headings] for row in rows))
    return f"{shown}\n\n{SEEN}"
