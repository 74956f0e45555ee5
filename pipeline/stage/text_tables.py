"""Tables as text: CSV by pandas, Markdown by tabulate; both are imported only where a table is read or written."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pipeline.stage.errors import ShardError
from pipeline.stage.tables import replacing


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows under a temporary name first; None is an empty cell."""
    import pandas as pd

    with replacing(path) as partial:
        pd.DataFrame(list(rows), columns=list(columns), dtype=object).to_csv(partial, index=False, lineterminator="\n")


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
    return list(table.columns), table.fillna("").to_dict("records")


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
    """A table in GitHub's Markdown; cells are texts whose bars and line ends are escaped."""
    from tabulate import tabulate

    return tabulate([[_escaped(cell) for cell in row] for row in rows], [_escaped(name) for name in headings], "github", disable_numparse=True)


def _escaped(cell: object) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ")
