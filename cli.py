"""The `retrieval` command: thin, and importing what a command needs only when it is called."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.stage.errors import PipelineError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Find the photographs that show the same thing, and prove how well.",
)

Targets = Annotated[list[str] | None, typer.Argument(help="stages, or kinds of stages (`extract`); all where none are named")]


@app.command()
def repro(
    targets: Targets = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="PATH=VALUE: set a parameter, keep an experiment")] = None,
    force: Annotated[bool, typer.Option("--force", help="run stages that are up to date, too")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going/--stop", help="after a failure, finish what does not depend on it")] = True,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for another run on this checkout, or refuse")] = True,
) -> None:
    """Run every stage that something changed for, and show the metrics."""
    from pipeline.whole import check_parameters

    check_parameters()  # before Prefect is imported, which takes seconds
    from flows.launching import run_rebuild
    from pipeline.comparison.summary import print_metrics

    run_rebuild(Path.cwd(), targets or [], overrides or [], force=force, keep_going=keep_going, wait=wait)
    print_metrics(Path.cwd())


@app.command()
def plan(
    targets: Targets = None,
    force: Annotated[bool, typer.Option("--force", help="as if stages that are up to date were run, too")] = False,
) -> None:
    """Show what `repro` would run, may run, restore or leave, why, and how long it took last time. Runs nothing."""
    from pipeline.whole import check_parameters
    from tasks.planning import make_plan
    from tasks.terminal import print_plan

    check_parameters()
    print_plan(make_plan(Path.cwd(), targets, force=force))


@app.command()
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


@app.command()
def metrics() -> None:
    """Show the metrics of the last run."""
    from pipeline.comparison.summary import print_metrics

    print_metrics(Path.cwd())


@app.command()
def setup() -> None:
    """Tell the configured Prefect server of this checkout: work pool, deployments of prefect.yaml, and what marks dead runs as crashed."""
    from flows.launching import run_setup

    run_setup()


@app.command()
def sweep(
    file: Annotated[str, typer.Argument(help="a file of experiments/")],
    keep_going: Annotated[bool, typer.Option("--keep-going/--stop", help="after a failed cell, run the others")] = True,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for another run on this checkout, or refuse")] = True,
) -> None:
    """Run a grid of parameters as experiments; finished cells are kept, so that it can be stopped and started again."""
    from flows.launching import run_sweep

    run_sweep(file, keep_going=keep_going, wait=wait)


@app.command()
def table(
    name: Annotated[str, typer.Argument(help="paper and number, as `retrieval tables` lists them: P3-IV, P1-F4")],
    small: Annotated[bool, typer.Option("--small", help="the variant on the embedded benchmark")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going/--stop", help="after a failed cell, run the others")] = True,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for another run on this checkout, or refuse")] = True,
) -> None:
    """Run the grids of a published table or figure, and write its page of published and measured numbers."""
    from tasks.published_tables import find_table, write_page

    root = Path.cwd()
    wanted = find_table(root, name)
    files = wanted.files(small)
    from flows.launching import run_sweep

    for file in files:
        run_sweep(str(file), keep_going=keep_going, wait=wait)
    typer.echo(str(write_page(root, wanted, small).relative_to(root)))


@app.command()
def tables() -> None:
    """List the papers' tables and figures: their grids, cells done, hours left, and data sets that are not downloaded."""
    from pipeline.stage.text_tables import markdown
    from tasks.published_tables import LISTED, table_lines

    typer.echo(markdown(LISTED, table_lines(Path.cwd())))


@app.command()
def check(files: Annotated[list[Path] | None, typer.Argument(help="params.yaml where none is named")] = None) -> None:
    """Check every section of params.yaml without running anything."""
    from pipeline.stage.parameters import PARAMS_FILE
    from pipeline.whole import check_parameters

    for file in files or [PARAMS_FILE]:
        check_parameters(file)
        typer.echo(f"{file} is right.")


@app.command()
def explain(
    path: Annotated[str, typer.Argument(help="a parameter or section: `resize.rule`, `aggregate`; all sections where none is named")] = "",
) -> None:
    """Say what a parameter of params.yaml means, its default, and what is allowed."""
    from pipeline.explaining import explain as explained

    for line in explained(path):
        typer.echo(line)


@app.command()
def datasets() -> None:
    """List every source of images with its size, and the state of those in params.yaml."""
    from pipeline.acquisition.listing import print_datasets

    print_datasets()


@app.command()
def validate(dataset: Annotated[str, typer.Argument(help="a name under `datasets` of params.yaml")]) -> None:
    """Say what a data set holds and what is wrong with it, before any stage has run as well."""
    from pipeline.imaging.validation import validate_dataset

    found = validate_dataset(dataset)
    for line in (*found.summary, *found.problems):
        typer.echo(line)
    if found.problems:
        typer.echo(f"{dataset}: {len(found.problems)} problems.")
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
    from pipeline.contracts.settings import settings as current
    from tasks.settings import flow_settings

    for values in (current(), flow_settings()):
        for name, field in type(values).model_fields.items():
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
