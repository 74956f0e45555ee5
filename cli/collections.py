"""Commands about collections: asking one about a photograph, and writing one for other programs."""

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer()


@commands.command()
def ask(
    photographs: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="files, folders, or - for standard input")],
    collection: Annotated[str, typer.Option(help="a benchmark whose collection is asked, or a folder; may be left out where there is one")] = "",
    box: Annotated[
        tuple[float, float, float, float] | None, typer.Option(metavar="X0 Y0 X1 Y1", help="around the object, in pixels of the upright photograph")
    ] = None,
    top: Annotated[int, typer.Option(help="results")] = 10,
    json: Annotated[bool, typer.Option("--json", help="one line of JSON per photograph")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="one row per result")] = False,
    show: Annotated[bool, typer.Option("--show", help="pictures in the terminal")] = False,
    html: Annotated[Path | None, typer.Option(help="page to write as well")] = None,
    png: Annotated[Path | None, typer.Option(help="picture to write as well")] = None,
    url: Annotated[bool, typer.Option("--url", help="allow addresses as photographs")] = False,
) -> None:
    """Ask which photographs of a collection show what a photograph shows. Nothing in data/ changes by it."""
    from pipeline.asking.command import ask as answer

    forms = [name for name, chosen in (("json", json), ("csv", csv), ("show", show)) if chosen]
    files = [file for file in (html, png) if file]
    if answer(photographs, collection, box=box, top=top, forms=forms, files=files, addresses=url):
        raise typer.Exit(1)


@commands.command()
def serve(
    collection: Annotated[list[str] | None, typer.Option(help="a benchmark's collection, or a folder; all collections where none is named")] = None,
    host: Annotated[str, typer.Option(help="address to listen on; any but loopback needs RETRIEVAL_TOKEN")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 8090,
) -> None:
    """Answer questions over HTTP, with a page to ask them on, until the process is told to end."""
    from pipeline.contracts.running.settings import settings
    from pipeline.serving.command import serve as answer

    answer(collection or [], host, port, settings().token.get_secret_value())


@commands.command()
def export(
    folder: Annotated[Path, typer.Argument(help="a folder that is not there yet")],
    collection: Annotated[str, typer.Option(help="a benchmark's collection, or a folder; may be left out where there is one")] = "",
    form: Annotated[str, typer.Option(help="clip (npy and parquet), faiss, lancedb or datasets")] = "clip",
) -> None:
    """Write the descriptors or codes of a collection for other programs."""
    from pipeline.asking.exporting import export as written
    from pipeline.asking.finding import find_collection

    typer.echo(f"{folder}: {written(find_collection(collection), folder, form)}")
