"""Rows added to and taken from a list of images, in its own encoding and with its own separator and columns."""

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path

from pipeline.acquisition.image_list import COLUMNS, read_text, separator_of, without_empty_ends, without_hint
from pipeline.stage.tables import replacing


def append_rows(file: Path, paths: Sequence[str], instance: str, role: str) -> None:
    """Add a row for each photograph; the columns `instance` and `role` are added where the list needs them, other cells are empty."""
    text, encoding = read_text(file)
    names, rows = _table(text)
    needed = [name for name, value in (("instance", instance), ("role", role if role != "database" else "")) if value and name not in names]
    names, rows = names + needed, [row + [""] * len(needed) for row in rows]
    added = ({"path": path, "id": path, "instance": instance, "role": role} for path in paths)
    rows += [[cells.get(name, "") for name in names] for cells in added]
    _write(file, names, rows, text, encoding)


def drop_rows(file: Path, image_ids: Collection[str]) -> None:
    """Take away the rows of images."""
    text, encoding = read_text(file)
    names, rows = _table(text)
    place, path = names.index("id") if "id" in names else names.index("path"), names.index("path")
    _write(file, names, [row for row in rows if (row[place].strip() or row[path].strip()) not in image_ids], text, encoding)


def _table(text: str) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, those that have a meaning in lower case, and the rows in which something stands."""
    text = without_hint(text)[1]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator_of(text), strict=True)
    headings, *rows = [cells for cells in reader if any(cell.strip() for cell in cells)]
    names = [name.strip() for name in without_empty_ends(headings)]
    rows = [[*cells[: len(names)], *[""] * (len(names) - len(cells))] for cells in rows]
    return [name.lower() if name.lower() in COLUMNS else name for name in names], rows


def _write(file: Path, names: list[str], rows: list[list[str]], before: str, encoding: str) -> None:
    stream = io.StringIO(newline="")
    hint, before = without_hint(before)
    stream.write(hint)
    end, separator = "\r\n" if "\r\n" in before else "\n", separator_of(before)
    plain, quoting = (csv.writer(stream, delimiter=separator, lineterminator=end, quoting=rule) for rule in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    plain.writerow(names)
    for row in rows:
        (quoting if any("\r" in cell for cell in row) else plain).writerow(row)  # which `csv` does not quote by itself
    with replacing(file) as partial:
        partial.write_bytes(stream.getvalue().encode(encoding))
