"""Commands about the photographs of data sets: what a folder holds now, adding, removing, looking for mistakes and copies."""

from pathlib import Path
from typing import Annotated

import typer

from cli.scanned import tell

commands = typer.Typer()


@commands.command()
def scan(
    datasets: Annotated[list[str] | None, typer.Argument(help="names under `datasets` of params.yaml; all where none are named")] = None,
) -> None:
    """Record what the folders of photographs hold now, so that `plan`, `dvc status` and `git diff` see what changed."""
    from pipeline.acquisition.source_scan import scan_sources

    scanned = scan_sources(datasets or [])
    tell(scanned, all_of_them=True)
    if any(each.error for each in scanned):
        raise typer.Exit(1)


@commands.command()
def add(
    dataset: Annotated[str, typer.Argument(help="a data set of the source `folder`")],
    files: Annotated[list[Path], typer.Argument(help="photographs")],
    instance: Annotated[str, typer.Option(help="what they show")] = "",
    role: Annotated[str, typer.Option(help="database, query, held_out or distractor")] = "",
) -> None:
    """Copy photographs into the folder of a data set; `retrieval repro` takes them into its collections."""
    from pipeline.acquisition.folder_edits import add_photographs
    from pipeline.acquisition.source_scan import scan_sources

    for path in add_photographs(dataset, files, instance, role):
        typer.echo(f"{dataset}: {path}")
    tell(scan_sources([dataset]))


@commands.command()
def remove(
    dataset: Annotated[str, typer.Argument(help="a data set of the source `folder`")],
    ids: Annotated[list[str], typer.Argument(help="image ids, as `ask` shows them")],
) -> None:
    """Move photographs out of the folder of a data set; its collections find them no more at once, and `retrieval repro` makes them without."""
    from pipeline.acquisition.folder_edits import refuse_unknown, remove_photographs
    from pipeline.acquisition.source_scan import scan_sources
    from tasks.published_collections import take_out_everywhere
    from tasks.workspace import is_busy

    refuse_unknown(dataset, ids)
    done, failed = take_out_everywhere(Path.cwd(), dataset, ids)
    home = remove_photographs(dataset, ids)
    typer.echo(f"{dataset}: {len(set(ids))} photographs moved to {home}")
    for line in done:
        typer.echo(line)
    for line in failed:
        typer.echo(line, err=True)
    tell(scan_sources([dataset]))
    if is_busy(Path.cwd()):
        typer.echo("A run works on this checkout and may have read them already: run `retrieval repro` after it.", err=True)
    if failed:
        raise typer.Exit(1)


@commands.command()
def datasets() -> None:
    """List every source of images with its size, and the state of those in params.yaml."""
    from pipeline.acquisition.listing import print_datasets

    print_datasets()


@commands.command()
def validate(dataset: Annotated[str, typer.Argument(help="a name under `datasets` of params.yaml")]) -> None:
    """Say what a data set holds and what is wrong with it, before any stage has run as well."""
    from pipeline.imaging.validation import validate_dataset

    found = validate_dataset(dataset)
    for line in (*found.summary, *found.problems):
        typer.echo(line)
    typer.echo(f"{dataset}: {len(found.problems)} problems." if found.problems else f"{dataset}: nothing is wrong.")
    if found.problems:
        raise typer.Exit(1)


@commands.command()
def duplicates(
    dataset: Annotated[str, typer.Argument(help="a name under `datasets` of params.yaml, whose images are there")],
    html: Annotated[Path | None, typer.Option(help="page of the pairs to write as well")] = None,
    scenes: Annotated[bool, typer.Option("--scenes/--copies", help="look for the same scene as well, or for copies alone")] = True,
) -> None:
    """List photographs of a data set that are the same: exact copies, near copies (resized, compressed again, cropped slightly), same scenes."""
    from pipeline.duplicates.listing import list_duplicates

    for line in list_duplicates(dataset, html, scenes=scenes):
        typer.echo(line)
