"""Studies behind figures: what their tables say, and that they come from the commit of an experiment."""

import shutil
from typing import Any

import pytest
import yaml

from pipeline.stage.tables import write_json
from pipeline.studies.params import STUDIES
from tasks.figure_studies import SECTIONS, headings_of, lost_studies, studies_of, study_tables, study_text
from tests.tasks.script_project import ScriptProject, git

MASKS: dict[str, Any] = {"images": 3, "near_orthogonal_limit": 0.15, "masks": {"max": {"kept": 0.25, "near_orthogonal": 0.5}}, "pictures": []}
REGIONS = {"queries": 2, "thresholds": [0.0, 0.45, 0.5, 0.55], "ways": {"squares": {"mean": 0.4, "regions": 40, "reached": [1.0, 0.5, 0.375, 0.25]}}}
VARIANT = {"scale": [0.5, 1.0], "shift": [1.0], "unrelated": 0.125}
SIMILARITY = {"squares": 2, "scales": [0.5, 1.0], "shifts": [0.0], "variants": {"neither": VARIANT}}


def test_each_study_has_the_numbers_of_its_figure() -> None:
    studies = {"masks": {"b": MASKS}, "regions": {"b": REGIONS}, "patch_similarity": {"b": SIMILARITY}}
    tables = study_tables([({"layer": "x"}, "e1", studies)])
    cell = {"layer": "x", "benchmark": "b", "experiment": "e1"}
    assert tables["masks"] == [cell | {"mask": "max", "images": "3", "features kept": "0.2500", "pairs with |cos| ≤ 0.15": "0.5000"}]
    precise = {"mean precision": "0.4000", "regions of precision ≥ 0.5": "0.3750"}
    assert tables["regions"] == [cell | {"regions by": "squares", "queries": "2", "regions": "40"} | precise]
    views = {"scale 0.5": "0.5000", "scale 1": "1.0000", "shift 0": "1.0000", "unrelated": "0.1250"}
    assert tables["patch_similarity"] == [cell | {"search": "neither", "squares": "2"} | views]


def test_studies_that_found_nothing_to_look_at_have_no_rows() -> None:
    nothing = {"regions": {"b": {"queries": 0}}, "patch_similarity": {"b": {"squares": 0}}}
    assert study_tables([({"layer": "x"}, "e1", nothing)]) == {"regions": [], "patch_similarity": []}
    assert study_text([], []).startswith("No cell has run this study")


def test_rows_of_cells_with_other_columns_fit_one_table() -> None:
    rows = [{"layer": "x", "scale 1": "0.5"}, {"layer": "y", "scale 2": "0.25"}]
    text = study_text(headings_of(rows), rows)
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:4]] == [["x", "0.5", ""], ["y", "", "0.25"]]


@pytest.mark.slow
def test_they_are_read_at_the_commit_and_not_in_the_checkout(project: ScriptProject) -> None:
    path = project.folder / "reports/masks/b.json"
    write_json(path, MASKS)
    project.dvc("add", "-q", "reports/masks/b.json")
    lock = {"schema": "2.0", "stages": {"masks@b": {"cmd": "made", "outs": [{"path": "reports/masks/b.json", "md5": "0" * 32}]}}}
    (project.folder / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    git(project.folder, "add", ".")
    git(project.folder, "commit", "-qm", "With masks")
    sections: dict[str, dict[str, Any]] = {"mask_study": {"b": {}, "other": {}}, "benchmarks": {"b": {}}}
    write_json(path, {"another": "one"})
    assert studies_of(project.folder, "HEAD", sections) == {"masks": {"b": MASKS}}
    assert studies_of(project.folder, "HEAD", {"benchmarks": {"b": {}}}) == {}
    assert set(SECTIONS) == set(STUDIES)
    assert not lost_studies(project.folder, "HEAD", sections, studies_of(project.folder, "HEAD", sections)), "the other benchmark's was never made"
    shutil.rmtree(project.folder / ".dvc/cache")
    path.unlink()
    assert lost_studies(project.folder, "HEAD", sections, studies_of(project.folder, "HEAD", sections)), "the cell runs again"
