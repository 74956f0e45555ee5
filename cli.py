"""The `retrieval` command: thin, and importing what a command needs only when it is called."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.stage.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.acquisition.source_scan import Scanned

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
    from pipeline.acquisition.source_scan import scan_sources
    from pipeline.whole import check_parameters

    check_parameters()  # before Prefect is imported, which takes seconds
    _tell(scan_sources())
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
    from pipeline.acquisition.source_scan import scan_sources
    from pipeline.stage.places import source_record
    from pipeline.whole import check_parameters
    from tasks.planning import make_plan
    from tasks.terminal import print_plan

    check_parameters()
    scanned = scan_sources()
    told = {str(source_record(each.dataset)): f"{each.dataset}: {each.difference}" for each in scanned if each.difference}
    print_plan(make_plan(Path.cwd(), targets, force=force), told)


@app.command()
def scan(
    datasets: Annotated[list[str] | None, typer.Argument(help="names under `datasets` of params.yaml; all where none are named")] = None,
) -> None:
    """Record what the folders of photographs hold now, so that `plan`, `dvc status` and `git diff` see what changed."""
    from pipeline.acquisition.source_scan import scan_sources

    scanned = scan_sources(datasets or [])
    _tell(scanned, all_of_them=True)
    if any(each.error for each in scanned):
        raise typer.Exit(1)


@app.command()
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
    _tell(scan_sources([dataset]))


@app.command()
def remove(
    dataset: Annotated[str, typer.Argument(help="a data set of the source `folder`")],
    ids: Annotated[list[str], typer.Argument(help="image ids, as `ask` shows them")],
) -> None:
    """Move photographs out of the folder of a data set; `retrieval repro` takes them out of its collections."""
    from pipeline.acquisition.folder_edits import remove_photographs
    from pipeline.acquisition.source_scan import scan_sources

    home = remove_photographs(dataset, ids)
    typer.echo(f"{dataset}: {len(set(ids))} photographs moved to {home}")
    _tell(scan_sources([dataset]))


def _tell(scanned: "list[Scanned]", *, all_of_them: bool = False) -> None:
    """A line for each folder that differs from its last import, or for all."""
    for each in scanned:
        if each.error or each.difference or all_of_them:
            typer.echo(each.line, err=bool(each.error))


@app.command()
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


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="a folder that is not there yet")],
    collection: Annotated[str, typer.Option(help="a benchmark's collection, or a folder; may be left out where there is one")] = "",
    form: Annotated[str, typer.Option(help="clip (npy and parquet), faiss, lancedb or datasets")] = "clip",
) -> None:
    """Write the descriptors or codes of a collection for other programs."""
    from pipeline.asking.command import find_collection
    from pipeline.asking.exporting import export as written

    typer.echo(f"{folder}: {written(find_collection(collection), folder, form)}")


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
    from flows.launching import run_table

    typer.echo(str(run_table(Path.cwd(), name, small=small, keep_going=keep_going, wait=wait)))


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
    typer.echo(f"{dataset}: {len(found.problems)} problems." if found.problems else f"{dataset}: nothing is wrong.")
    if found.problems:
        raise typer.Exit(1)


@app.command()
def duplicates(
    dataset: Annotated[str, typer.Argument(help="a name under `datasets` of params.yaml, whose images are there")],
    html: Annotated[Path | None, typer.Option(help="page of the pairs to write as well")] = None,
    scenes: Annotated[bool, typer.Option("--scenes/--copies", help="look for the same scene as well, or for copies alone")] = True,
) -> None:
    """List photographs of a data set that are the same: exact copies, near copies (resized, compressed again, cropped slightly), same scenes."""
    from pipeline.duplicates.listing import list_duplicates

    for line in list_duplicates(dataset, html, scenes=scenes):
        typer.echo(line)


@app.command()
def networks() -> None:
    """List every architecture with its layers, strides and receptive fields."""
    from pipeline.networks.listing import print_networks

    print_networks()


@app.command()
def store(clean: Annotated[bool, typer.Option("--clean", help="remove everything; what is needed again is computed again")] = False) -> None:
    """Show what the store of computed values holds, and how often it saved work."""
    from pipeline.contracts.store import Store

    own = Store.open()
    for line in own.clean_up() if clean else own.summary():
        typer.echo(line)


@app.command()
def settings() -> None:
    """Show the settings of this place: RETRIEVAL_* variables and .env."""
    from tasks.settings import setting_lines

    for line in setting_lines():
        typer.echo(line)


def main() -> None:
    """Entry point: errors a user can put right are one line."""
    try:
        app()
    except PipelineError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
