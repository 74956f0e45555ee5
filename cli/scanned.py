"""What a look at the folders of photographs found, as lines on the terminal."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pipeline.acquisition.source_scan import Scanned


def tell(scanned: "list[Scanned]", *, all_of_them: bool = False) -> None:
    """Print a line for each folder that differs from its last import, or for all."""
    for each in scanned:
        if each.error or each.difference or all_of_them:
            typer.echo(each.line, err=bool(each.error))
