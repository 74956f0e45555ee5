"""Tables as text: CSV by pandas, Markdown by tabulate; both are imported only where a table is read or written."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pipeline.stage.errors import ShardError
from pipeline.stage.tables import replacing

FORMULA = re.compile(r"'*[=+\-@\t\r]")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows under a temporary name first; None is an empty cell. No text is a formula to a spreadsheet: see `_shown`."""
    import pandas as pd

    safe = [{name: _shown(row.get(name)) for name in columns} for row in rows]
    with replacing(path) as partial:
        pd.DataFrame(safe, columns=list(columns), dtype=object).to_csv(partial, index=False, lineterminator="\n")


def _shown(cell: Any) -> Any:
    """A text that begins like a formula gets an apostrophe before it, which `read_csv` takes away again."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell) else cell


def _as_written(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def read_csv(source: Path | IO[str], **options: Any) -> tuple[list[str], list[dict[str, str]]]:
    """The headings, and all rows by heading; every cell is a text, and empty where nothing stands.

    Args:
        options: of pandas.read_csv.

    Raises:
        ValueError: not a table of equally long rows, or a heading that occurs twice.
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            table = pd.read_csv(source, dtype=str, keep_default_na=False, index_col=False, **options)
        except pd.errors.EmptyDataError:
            return [], []
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise ValueError(" ".join(str(error).split())) from None
    rows: list[dict[str, str]] = table.fillna("").to_dict("records")
    return list(table.columns), [{name: _as_written(cell) for name, cell in row.items()} for row in rows]


def read_rows(path: Path, made_by: str = "`dvc repro`") -> list[dict[str, str]]:
    """All rows of a table of the project.

    Raises:
        ShardError: missing or damaged; `made_by` is the command that makes it.
    """
    try:
        return read_csv(path)[1]
    except FileNotFoundError:
        raise ShardError(f"{path}: not found; make it with {made_by}") from None
    except ValueError as error:
        raise ShardError(f"{path}: not a CSV table ({error}); make it again with {made_by}") from None


def markdown(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in GitHub's Markdown; cells are texts whose bars, line ends and tags are escaped."""
    from tabulate import tabulate

    return tabulate([[_escaped(cell) for cell in row] for row in rows], [_escaped(name) for name in headings], "github", disable_numparse=True)


def _escaped(cell: object) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
