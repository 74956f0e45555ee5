"""The `retrieval` command: thin, and importing what a command needs only when it is called."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.contracts.errors import PipelineError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Find the photographs that show the same thing, and prove how well.",
)


@app.command()
def repro(
    targets: Annotated[list[str] | None, typer.Argument(help="stages, as in `dvc repro`; all where none are named")] = None,
    force: Annotated[bool, typer.Option(help="run stages that are up to date, too")] = False,
) -> None:
    """Check params.yaml, run every stage that something changed for, and show the metrics."""
    from pipeline.reporting.summary import print_summary
    from pipeline.whole import check_parameters

    check_parameters()
    command = [sys.executable, "-m", "dvc", "repro", *(["--force"] if force else []), *(targets or [])]
    status = subprocess.run(command, check=False).returncode
    if status:
        raise typer.Exit(status)
    print_summary(Path("reports"))


@app.command()
def metrics() -> None:
    """Show the metrics of the last run."""
    from pipeline.reporting.summary import print_summary

    print_summary(Path("reports"))


@app.command()
def check() -> None:
    """Check every section of params.yaml without running anything."""
    from pipeline.whole import check_parameters

    check_parameters()
    typer.echo("params.yaml is right.")


@app.command()
def datasets() -> None:
    """List every source of images with its size, and the state of those in params.yaml."""
    from pipeline.acquisition.listing import print_datasets

    print_datasets()


@app.command()
def validate(dataset: Annotated[str, typer.Argument(help="a name under `datasets` of params.yaml")]) -> None:
    """Check one data set and say what is wrong with it."""
    from pipeline.acquisition.validation import validate_dataset

    problems = validate_dataset(dataset)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{dataset}: nothing is wrong.")


@app.command()
def networks() -> None:
    """List every architecture with its layers, strides and receptive fields."""
    from pipeline.networks.listing import print_networks

    print_networks()


@app.command()
def settings() -> None:
    """Show the settings of this place: RETRIEVAL_* variables and .env."""
    from pipeline.contracts.settings import Settings
    from pipeline.contracts.settings import settings as current

    values = current()
    for name, field in Settings.model_fields.items():
        typer.echo(f"RETRIEVAL_{name.upper()}={getattr(values, name)}    # {field.description}")


def main() -> None:
    """Entry point: errors a user can put right are one line."""
    try:
        app()
    except PipelineError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
