"""Commands that look something up: parameters, what they would cost, settings, networks, the store."""

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer()


@commands.command()
def check(files: Annotated[list[Path] | None, typer.Argument(help="params.yaml where none is named")] = None) -> None:
    """Check every section of params.yaml without running anything."""
    from pipeline.stage.parameters import PARAMS_FILE
    from pipeline.whole import check_parameters

    for file in files or [PARAMS_FILE]:
        check_parameters(file)
        typer.echo(f"{file} is right.")


@commands.command()
def explain(
    path: Annotated[str, typer.Argument(help="a parameter or section: `resize.rule`, `aggregate`; all sections where none is named")] = "",
) -> None:
    """Say what a parameter of params.yaml means, its default, and what is allowed."""
    from pipeline.explaining import explain as explained

    for line in explained(path):
        typer.echo(line)


@commands.command()
def estimate(
    images: Annotated[int, typer.Option(help="photographs")] = 1_000_000,
    megapixels: Annotated[float, typer.Option(help="of a photograph as it comes")] = 2.0,
    cores: Annotated[int, typer.Option(help="of the machine; 0: of this one")] = 0,
    gpus: Annotated[int, typer.Option(help="of the machine")] = 0,
    gpu: Annotated[str, typer.Option(help="their kind")] = "h100",
    euros: Annotated[float | None, typer.Option(help="of an hour of the machine; what docs/scale.md says where nothing is given")] = None,
    questions: Annotated[int, typer.Option(help="queries of the exact search")] = 1000,
) -> None:
    """Say what the stages of params.yaml would take for many photographs: hours, bytes, euros."""
    from pipeline.estimating.report import estimate as estimated

    for line in estimated(images, megapixels=megapixels, cores=cores, gpus=gpus, gpu=gpu, euros=euros, questions=questions):
        typer.echo(line)


@commands.command()
def networks(
    architecture: Annotated[str, typer.Argument(help="one architecture, or one of the library timm as timm/NAME; all without a name")] = "",
) -> None:
    """List every architecture with its layers, strides and receptive fields, or the layers of one."""
    from pipeline.networks.listing import print_network, print_networks

    if architecture:
        print_network(architecture)
    else:
        print_networks()


@commands.command()
def store(clean: Annotated[bool, typer.Option("--clean", help="remove everything; what is needed again is computed again")] = False) -> None:
    """Show what the store of computed values holds, and how often it saved work."""
    from pipeline.contracts.executors.store import Store

    own = Store.open()
    for line in own.clean_up() if clean else own.summary():
        typer.echo(line)


@commands.command()
def settings() -> None:
    """Show the settings of this place: RETRIEVAL_* variables and .env."""
    from tasks.settings import setting_lines

    for line in setting_lines():
        typer.echo(line)
