"""Tables and figures of the papers: the grid that makes each again, how far it has come, and its page of published and measured numbers."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.stage import places
from pipeline.stage.checksums import MANIFEST
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import read_section
from pipeline.stage.tables import read_json, replacing
from pipeline.stage.text_tables import markdown, read_rows
from tasks.experiments import experiments, uncommitted
from tasks.figure_studies import study_text
from tasks.grid_sources import folder_records, state_with
from tasks.grids import cell_name, cells, load_sweep
from tasks.sweeps import OUT_OF_FOUR

GRIDS = Path("experiments")
LIST = GRIDS / "tables.csv"
LISTED = ("table", "title", "grid", "cells done", "hours left", "not downloaded")
NOT_ON_PAGE = ("experiment", "state", "source")
DIFFERENCES = {"mAP − published": ("mAP", "published"), "P@1 − published": ("P@1", "published P@1")}


@dataclass(frozen=True)
class PublishedTable:
    """A table or figure of a paper.

    Attributes:
        name: paper and number: P3-IV is table IV of paper 3, P1-F4 figure 4 of paper 1.
        grids, small: files of experiments/ that make it on the published benchmarks, and on the embedded one.
        command: what makes it where that is no grid.
        study: of its grids' cells that it shows, a key of tasks.figure_studies.ROWS; empty where it shows their metrics.
    """

    name: str
    title: str
    grids: tuple[str, ...]
    small: tuple[str, ...]
    command: str
    study: str = ""

    def files(self, small: bool) -> list[Path]:
        """The grids to run.

        Raises:
            ParameterError: it has none.
        """
        if self.command:
            raise ParameterError(f"{self.name}: no grid makes it; run `{self.command}`")
        if small and not self.small:
            raise ParameterError(f"{self.name}: it has no small variant, since its network is not packaged; run it without --small")
        return [GRIDS / f"{name}.yaml" for name in (self.small if small else self.grids)]


@dataclass(frozen=True)
class Progress:
    """How far the grids of a table have come on the present commit.

    Attributes:
        done, cells: finished, and all.
        hours: that the others take, by the time of those that ran; None where none ran.
        missing: data sets of its benchmarks that are not downloaded.
    """

    done: int
    cells: int
    hours: float | None
    missing: tuple[str, ...]


def published_tables(root: Path) -> list[PublishedTable]:
    """Every table and figure, in the order of the papers."""
    rows = read_rows(root / LIST)
    return [
        PublishedTable(row["id"], row["title"], tuple(row["grids"].split()), tuple(row["small"].split()), row["command"], row["study"])
        for row in rows
    ]


def find_table(root: Path, name: str) -> PublishedTable:
    """The table of a name, in any case.

    Raises:
        ParameterError: there is none.
    """
    known = published_tables(root)
    found = next((table for table in known if table.name.lower() == name.lower()), None)
    if found is None:
        raise ParameterError(f"{name}: no such table; there are: {', '.join(table.name for table in known)}")
    return found


def progress_of(root: Path, file: Path, finished: set[str], state: str) -> Progress:
    """How far a grid has come.

    Args:
        finished: names of the experiments on the present commit.
        state: of uncommitted changes.
    """
    grid = load_sweep(root / file)
    state = state_with(state, folder_records(root, grid.sections))
    names = [cell_name(file.stem, cell, grid.targets, state) for cell in cells(grid, read_section("", root / "params.yaml"))]
    done = sum(name in finished for name in names)
    wanted = {target.partition("@")[2] for target in grid.targets}
    benchmarks = [each for name, each in grid.sections.get("benchmarks", {}).items() if name in wanted or "" in wanted]
    sets = {benchmark[field] for benchmark in benchmarks for field in ("dataset", "held_out", "distractors")} - {"none"}
    missing = tuple(sorted(name for name in sets if not (root / places.RAW / name / MANIFEST).exists()))
    return Progress(done, len(names), _hours(root, file.stem, len(names) - done), missing)


def _hours(root: Path, name: str, left: int) -> float | None:
    if not left:
        return 0.0
    file = root / places.SWEEPS / f"{name}.json"
    seconds = read_json(file).get("seconds_per_cell") if file.exists() else None
    return None if seconds is None else left * seconds / 3600


def write_page(root: Path, table: PublishedTable, small: bool) -> Path:
    """reports/tables/NAME.md: what its sweeps measured next to what is published, and the difference; of a study what that measured."""
    parts = [f"# {table.name}: {table.title}\n"]
    for file in table.files(small):
        sweep = read_json(root / places.SWEEPS / f"{file.stem}.json")
        measured = f"Measured on commit {sweep['commit']}."
        study = sweep.get("studies", {}).get(table.study, {"headings": (), "rows": ()})
        text = f"\n\n{study_text(study['headings'], study['rows'])}" if table.study else f" {_compared(sweep)}"
        parts.append(f"## {sweep['title']}\n\n{measured}{text}\n")
    target = root / places.PAPER_TABLES / f"{table.name}{'-small' if small else ''}.md"
    with replacing(target) as partial:
        partial.write_text("\n".join(parts), encoding="utf-8")
    return target


def _compared(sweep: dict[str, Any]) -> str:
    """Measured and published numbers of all cells, and how far apart they are."""
    rows = [_with_differences(row) for row in sweep["rows"]]
    headings = [heading for heading in (*sweep["headings"], *DIFFERENCES) if heading not in NOT_ON_PAGE and any(row[heading] for row in rows)]
    return f"{_summary(rows)}\n\n{markdown(headings, ([row[heading] for heading in headings] for row in rows))}"


def _with_differences(row: dict[str, str]) -> dict[str, str]:
    """A row with the measured minus the first published number, in both measures."""
    own = dict(row)
    for difference, (measured, published) in DIFFERENCES.items():
        both = own.get(measured) and own.get(published)
        own[difference] = f"{float(own[measured]) - float(own[published].split(';')[0]):+.4f}" if both else ""
    return own


def _summary(rows: list[dict[str, str]]) -> str:
    measured = sum(bool(row["mAP"]) for row in rows)
    differences = [abs(float(row["mAP − published"])) for row in rows if row["mAP − published"] and OUT_OF_FOUR not in row["database"]]
    if not differences:
        return f"{measured} rows are measured, none of them with a published mAP."
    return f"{measured} rows are measured, {len(differences)} with a published mAP. The median difference is {statistics.median(differences):.4f}."


def table_lines(root: Path) -> list[list[str]]:
    """A line of LISTED for each table."""
    finished, state = set(experiments(root)), uncommitted(root)
    tables = published_tables(root)
    names = dict.fromkeys(name for table in tables for name in (*table.grids, *table.small))
    progress = {name: progress_of(root, GRIDS / f"{name}.yaml", finished, state) for name in names}
    return [[table.name, table.title, *_line(table, progress)] for table in tables]


def _line(table: PublishedTable, progress: dict[str, Progress]) -> list[str]:
    if table.command:
        return [table.command, "", "", ""]
    full, small = ([progress[name] for name in names] for names in (table.grids, table.small))
    done = [f"{sum(each.done for each in own)} of {sum(each.cells for each in own)}" for own in (full, small) if own]
    hours = [each.hours for each in full]
    left = "unknown" if None in hours else f"{sum(filter(None, hours)):.1f}"
    missing = sorted({name for each in full for name in each.missing})
    return [" ".join(table.grids), ", small ".join(done), left, ", ".join(missing) or "all there"]
