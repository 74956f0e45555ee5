"""The `retrieval` command: thin, and importing what a command needs only when it is called."""

import typer

from cli import collections, inquiries, photographs, running
from pipeline.stage.errors import PipelineError, of_the_system

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Find the photographs that show the same thing, and prove how well.",
)
for room in (running, photographs, collections, inquiries):
    app.add_typer(room.commands)


def main() -> None:
    """Entry point: errors a user can put right are one line."""
    try:
        app()
    except PipelineError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None
    except OSError as error:
        line = of_the_system(error)
        if line is None:
            raise
        typer.echo(f"error: {line}", err=True)
        raise SystemExit(1) from None
