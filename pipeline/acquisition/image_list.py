"""A list of images as people write it: CSV from any spreadsheet, read line by line so that what is wrong is named by its line.

The standard library reads it: pandas names no lines, renames a column that stands twice and fills short rows.
"""

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.stage.catalogue import ROLES, Box
from pipeline.stage.errors import SourceError

COLUMNS = ("id", "path", "instance", "role", "box")
LONGEST_CELL = 1000
HINT = re.compile(r'"?sep=.?"?\r?\n', re.IGNORECASE)
FARTHEST = 1e6
"""Pixels; no photograph is wider."""
Record = dict[str, str]
"""Of one image: COLUMNS, and `facts`, the other columns as JSON ('' for none)."""


def read_image_list(path: Path) -> list[tuple[int, Record]]:
    """Read and check a list; every record with its line.

    Columns are `path` and, as wanted, `id`, `instance`, `role`, `box`, in any case; others are kept as facts of the image. Cells are
    separated by commas, semicolons or tabs; the text is UTF-8, or UTF-16 with its mark.

    Raises:
        SourceError: names the file and line of what does not fit.
    """
    rows = _rows(path)
    line, headings = next(rows, (1, []))
    headings = without_empty_ends(headings)
    names = _columns(headings, f"{path}:{line}")
    records: list[tuple[int, Record]] = []
    first_with: dict[str, int] = {}
    for line, cells in rows:
        where = f"{path}:{line}"
        cells = cells[: len(names)] if not any(cell.strip() for cell in cells[len(names) :]) else cells
        if len(cells) != len(names):
            raise SourceError(f"{where}: {len(cells)} cells; expected {len(names)}, as many as there are columns")
        record = _record(dict(zip(names, cells, strict=True)), where)
        if record["id"] in first_with:
            other = first_with[record["id"]]
            raise SourceError(f"{where}: two images have the id {record['id']!r}, as in line {other}; give the column `id` distinct values")
        first_with[record["id"]] = line
        records.append((line, record))
    if not records:
        raise SourceError(f"{path}: no images in it; expected a row for each image, with its file in the column `path`")
    return records


def has_rows(path: Path) -> bool:
    """Whether a list names images, beside its headings."""
    return len([line for line, _ in zip(_rows(path), range(2), strict=False)]) == 2


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every row in which something stands."""
    hint, text = without_hint(read_text(path)[0])
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # a long cell that has a meaning is refused later, by its name
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator_of(text), strict=True)
    before = 1 if hint else 0
    began = before + 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield began, cells
            began = before + reader.line_num + 1
    except csv.Error as error:
        raise SourceError(
            f"{path}:{began}: not a row of a table ({error}); close every quote, and quote cells that hold quotes or line ends"
        ) from None


def without_hint(text: str) -> tuple[str, str]:
    """The line `sep=;` that spreadsheets put before a list, its end included, or nothing; and the rest."""
    found = HINT.match(text)
    return (found[0], text[found.end() :]) if found else ("", text)


def separator_of(text: str) -> str:
    """What stands between cells: the comma, semicolon or tab that the first line has most of."""
    first = text.split("\n", 1)[0].split("\r", 1)[0]
    return max(",;\t", key=lambda each: (first.count(each), each == ","))


def read_text(path: Path) -> tuple[str, str]:
    """The text of a list, and its encoding.

    Raises:
        SourceError: missing, or not text.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; `catalogue` of the data set names a CSV file inside its folder") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if wide else "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SourceError(f"{path}:{line}: not {'UTF-16' if wide else 'UTF-8'} text; save the list as UTF-8") from None
    if "\0" in text:
        raise SourceError(f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1}: a NUL character; save the list as CSV text")
    return text, encoding


def without_empty_ends(headings: list[str]) -> list[str]:
    """Without the empty columns that spreadsheets leave at the right."""
    return headings[: max((place + 1 for place, name in enumerate(headings) if name.strip()), default=0)]


def _columns(headings: list[str], where: str) -> list[str]:
    """Names of the columns; those that the project knows in lower case."""
    names = [name.strip() for name in headings]
    names = [name.lower() if name.lower() in COLUMNS else name for name in names]
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"{where}: the column {name!r} stands twice; remove or rename one")
    if "path" not in names:
        raise SourceError(f"{where}: columns are {', '.join(names) or 'none'}; a column `path` is needed, and {', '.join(COLUMNS)} have a meaning")
    return names


def _record(row: dict[str, str], where: str) -> Record:
    record = {name: row.pop(name, "").strip() for name in COLUMNS}
    for name, cell in record.items():
        if len(cell) > LONGEST_CELL:
            raise SourceError(f"{where}: the cell of {name} has {len(cell)} characters; at most {LONGEST_CELL} are read")
    if not record["path"]:
        raise SourceError(f"{where}: no path; the column `path` names the image's file")
    record["path"] = PurePosixPath(record["path"]).as_posix()
    record["id"] = record["id"] or record["path"]
    record["role"] = record["role"] or "database"
    if record["role"] not in ROLES:
        raise SourceError(f"{where}: role {record['role']!r}; allowed: {', '.join(ROLES)}")
    parse_box(record["box"], where)
    facts = {name: cell.strip() for name, cell in row.items() if name and cell.strip()}
    return record | {"facts": json.dumps(facts, sort_keys=True, ensure_ascii=False) if facts else ""}


def parse_box(text: str, where: str) -> Box | None:
    """'x0 y0 x1 y1' as a box; an empty text is none.

    Raises:
        SourceError: not four finite numbers, or empty.
    """
    if not text:
        return None
    try:
        x0, y0, x1, y1 = (float(value) for value in text.replace(",", " ").split())
    except ValueError:
        raise SourceError(f"{where}: box {text!r}; expected four numbers: x0 y0 x1 y1") from None
    if not all(math.isfinite(value) and abs(value) <= FARTHEST for value in (x0, y0, x1, y1)):
        raise SourceError(f"{where}: box {text!r}; expected pixels between -{FARTHEST:.0f} and {FARTHEST:.0f}")
    if not (x1 > x0 and y1 > y0):
        raise SourceError(f"{where}: box {text!r} is empty; expected x0 < x1 and y0 < y1")
    return (x0, y0, x1, y1)
