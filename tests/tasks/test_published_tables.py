"""Tables of the papers: each has a grid or a command, what is done and left, and the page of published and measured numbers."""

import re
import shutil
from pathlib import Path

import pytest

from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import read_section
from pipeline.stage.tables import write_json
from tasks.figure_studies import ROWS
from tasks.grids import cell_name, cells, load_sweep
from tasks.published_tables import LIST, find_table, progress_of, published_tables, table_lines, write_page
from tests.conftest import PROJECT

MEASURABLE = {
    "P1": ["T1", "T2", "F3", "F4", "F6", "F7", "S6"],
    "P2": ["T1", "T2", "T3", "F3", "F4", "F5", "F6", "F7"],
    "P3": ["II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "F2", "F3", "F4", "F5", "F6", "F7"],
    "P4": ["4.2", "5.1", "5.2", "5.3", "F3.1", "F3.2"],
}
"""Tables and figures that show something measured; docs/papers.md names the others."""


def test_every_measured_table_of_the_papers_has_a_grid_or_a_command() -> None:
    known = {table.name: table for table in published_tables(PROJECT)}
    assert set(known) == {f"{paper}-{number}" for paper, numbers in MEASURABLE.items() for number in numbers}
    for table in known.values():
        assert bool(table.command) != bool(table.grids)
        for name in (*table.grids, *table.small):
            assert (PROJECT / "experiments" / f"{name}.yaml").exists(), name
        module = re.fullmatch(r"python -m ([\w.]+)", table.command) if table.command else None
        assert not table.command or (module and (PROJECT / f"{module[1].replace('.', '/')}.py").exists())


def test_every_grid_is_of_a_table_or_says_that_it_is_not() -> None:
    used = {name for table in published_tables(PROJECT) for name in (*table.grids, *table.small)}
    grids = {path.stem for path in (PROJECT / "experiments").glob("*.yaml") if not path.stem.endswith("_base")}
    ways, later_systems = (
        {"patch_ways_gallery", "two_step_gallery"},
        {"super_global", "super_global_gallery", "patchify_gallery", "patch_codes_gallery", "ilias", "describers"},
    )
    assert grids - used == ways | later_systems, "the four papers have no table of these"


def test_names_are_found_in_any_case_and_others_are_refused() -> None:
    assert find_table(PROJECT, "p3-iv").title == "Configurations by dimension"
    with pytest.raises(ParameterError, match="P3-X: no such table; there are: P1-T1, P1-T2"):
        find_table(PROJECT, "P3-X")
    with pytest.raises(ParameterError, match=r"P4-5.1: no grid makes it; run `python -m bench.instance_search`"):
        find_table(PROJECT, "P4-5.1").files(small=True)
    with pytest.raises(ParameterError, match="P2-T2: it has no small variant"):
        find_table(PROJECT, "P2-T2").files(small=True)
    assert find_table(PROJECT, "P3-VIII").files(small=True) == [Path("experiments/real_valued_gallery.yaml")]


def test_progress_counts_finished_cells_and_tells_what_is_left(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "experiments", tmp_path / "experiments")
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    grid = Path("experiments/image_sizes_gallery.yaml")
    nothing = progress_of(tmp_path, grid, set(), "")
    assert (nothing.done, nothing.cells, nothing.hours, nothing.missing) == (0, 4, None, ("gallery",))
    own = load_sweep(tmp_path / grid)
    names = [cell_name("image_sizes_gallery", cell, own.targets, "") for cell in cells(own, read_section("", tmp_path / "params.yaml"))]
    (tmp_path / "reports/sweeps").mkdir(parents=True)
    write_json(tmp_path / "reports/sweeps/image_sizes_gallery.json", {"seconds_per_cell": 1800.0})
    half = progress_of(tmp_path, grid, set(names[:3]), "")
    assert (half.done, half.hours) == (3, 0.5)
    assert progress_of(tmp_path, grid, set(names), "").hours == 0.0


def test_the_list_has_a_line_for_each_table() -> None:
    lines = table_lines(PROJECT)
    assert [line[0] for line in lines] == [table.name for table in published_tables(PROJECT)]
    assert all(re.fullmatch(r"\d+ of \d+(, small \d+ of \d+)?", line[3]) for line in lines if not line[2].startswith("python"))


def test_the_page_shows_published_beside_measured(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / LIST).write_text("id,title,grids,small,command,study\nP9-T1,A | table,,tiny,,\n", encoding="utf-8")
    row = {"axis": "x", "benchmark": "b", "database": "database", "mAP": "0.5000", "published": "0.6; 0.7", "source": "s", "state": "ran"}
    other = row | {"axis": "y", "mAP": "", "published": "0.4"}
    sweep = {"title": "Tiny", "commit": "abc", "headings": list(row), "rows": [row, other]}
    write_json(tmp_path / "reports/sweeps/tiny.json", sweep)
    page = write_page(tmp_path, find_table(tmp_path, "P9-T1"), small=True)
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "reports/tables/P9-T1-small.md"
    assert "Measured on commit abc. 1 rows are measured, 1 with a published mAP. The median difference is 0.1000." in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == ["axis", "benchmark", "database", "mAP", "published", "mAP − published"]
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["x", "b", "database", "0.5000", "0.6; 0.7", "-0.1000"]


def test_the_page_of_a_figure_shows_what_its_study_measured(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / LIST).write_text("id,title,grids,small,command,study\nP9-F1,A figure,,tiny,,masks\n", encoding="utf-8")
    row = {"layer": "x", "benchmark": "b", "mask": "max", "features kept": "0.2500", "experiment": "e1"}
    sweep = {
        "title": "Tiny",
        "commit": "abc",
        "rows": [{"layer": "x", "mAP": "0.5000"}],
        "studies": {"masks": {"headings": list(row), "rows": [row]}},
    }
    write_json(tmp_path / "reports/sweeps/tiny.json", sweep)
    text = write_page(tmp_path, find_table(tmp_path, "P9-F1"), small=True).read_text(encoding="utf-8")
    assert "mAP" not in text
    assert re.search(r"\| x +\| b +\| max +\| 0.2500 +\| e1 +\|", text)


def test_every_study_that_a_figure_shows_is_known() -> None:
    assert {table.study for table in published_tables(PROJECT)} - {""} == set(ROWS)
