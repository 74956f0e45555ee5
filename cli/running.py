"""Commands that run stages, or say what would run: one rebuild, grids, published tables, and their numbers."""

from pathlib import Path
from typing import Annotated

import typer

from cli.scanned import tell

commands = typer.Typer()
Targets = Annotated[list[str] | None, typer.Argument(help="stages, or kinds of stages (`extract`); all where none are named")]


@commands.command()
def repro(
    targets: Targets = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="PATH=VALUE: set a parameter, keep an experiment")] = None,
    force: Annotated[bool, typer.Option("--force", help="run stages that are up to date, too")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going/--stop", help="after a failure, finish what does not depend on it")] = True,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for another run on this checkout, or refuse")] = True,
) -> None:
    """Run every stage that something changed for, and show the metrics."""
    from pipeline.acquisition.source_scan import scan_sources
    from pipeline.whole import check_parameters

    check_parameters()  # before Prefect is imported, which takes seconds
    scanned = scan_sources()
    tell(scanned)
    from flows.launching import run_rebuild
    from pipeline.comparison.summary import print_metrics

    run_rebuild(Path.cwd(), targets or [], overrides or [], force=force, keep_going=keep_going, wait=wait)
    print_metrics(Path.cwd())
    for each in scanned:
        if each.error:
            typer.echo(f"{each.line}; what was imported before was used", err=True)
    if any(each.error for each in scanned):
        raise typer.Exit(1)


@commands.command()
def plan(
    targets: Targets = None,
    force: Annotated[bool, typer.Option("--force", help="as if stages that are up to date were run, too")] = False,
) -> None:
    """Show what `repro` would run, may run, restore or leave, why, and how long it took last time. Runs nothing."""
    from pipeline.acquisition.source_scan import scan_sources
    from pipeline.stage.places import source_record
    from pipeline.whole import check_parameters
    from tasks.planning import make_plan
    from tasks.terminal import print_plan

    check_parameters()
    scanned = scan_sources()
    told = {str(source_record(each.dataset)): f"{each.dataset}: {each.difference}" for each in scanned if each.difference}
    print_plan(make_plan(Path.cwd(), targets, force=force), told)


@commands.command()
def sweep(
    file: Annotated[str, typer.Argument(help="a file of experiments/")],
    keep_going: Annotated[bool, typer.Option("--keep-going/--stop", help="after a failed cell, run the others")] = True,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for another run on this checkout, or refuse")] = True,
) -> None:
    """Run a grid of parameters as experiments; finished cells are kept, so that it can be stopped and started again."""
    from flows.launching import run_sweep

    run_sweep(file, keep_going=keep_going, wait=wait)


@commands.command()
def table(
    name: Annotated[str, typer.Argument(help="paper and number, as `retrieval tables` lists them: P3-IV, P1-F4")],
    small: Annotated[bool, typer.Option("--small", help="the variant on the embedded benchmark")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going/--stop", help="after a failed cell, run the others")] = True,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for another run on this checkout, or refuse")] = True,
) -> None:
    """Run the grids of a published table or figure, and write its page of published and measured numbers."""
    from flows.launching import run_table

    typer.echo(str(run_table(Path.cwd(), name, small=small, keep_going=keep_going, wait=wait)))


@commands.command()
def tables() -> None:
    """List the papers' tables and figures: their grids, cells done, hours left, and data sets that are not downloaded."""
    from pipeline.stage.text_tables import markdown
    from tasks.published_tables import LISTED, table_lines

    typer.echo(markdown(LISTED, table_lines(Path.cwd())))


@commands.command()
def compare(
    before: Annotated[str, typer.Argument(help="a commit")] = "HEAD",
    after: Annotated[str, typer.Argument(help="a commit; the work tree where none is named")] = "",
    markdown: Annotated[Path | None, typer.Option(help="file to write as well")] = None,
    html: Annotated[Path | None, typer.Option(help="file to write as well, with the pictures of queries")] = None,
    json: Annotated[Path | None, typer.Option(help="file to write as well")] = None,
) -> None:
    """Compare the results of two commits: metrics with their certainty, queries, parameters, code and stages."""
    from tasks.comparison import compare as compare_revisions

    compare_revisions(Path.cwd(), before, after, markdown=markdown, html=html, json_file=json, show=True)


@commands.command()
def metrics() -> None:
    """Show the metrics of the last run."""
    from pipeline.comparison.summary import print_metrics

    print_metrics(Path.cwd())


@commands.command()
def setup() -> None:
    """Tell the configured Prefect server of this checkout: work pool, deployments of prefect.yaml, and what marks dead runs as crashed."""
    from flows.launching import run_setup

    run_setup()
