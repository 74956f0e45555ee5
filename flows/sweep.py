"""The flow sweep: a grid of overrides run as DVC experiments, and one table of measured and published numbers."""

import time
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.choices import GridFile
from pipeline.contracts.metrics import Metrics
from pipeline.stage.errors import PipelineError
from pipeline.stage.parameters import read_section
from pipeline.stage.places import SWEEPS
from tasks.experiments import (
    check_overrides,
    find_experiment,
    metrics_of,
    per_query_of,
    remove_experiment,
    remove_leftovers,
    run_experiment,
    state_of,
    uncommitted,
)
from tasks.figure_studies import lost_studies, studies_of
from tasks.grid_sources import folder_records, laid_out, state_with
from tasks.grids import Cell, SweepFile, cell_name, cells, load_sweep
from tasks.processes import Processes
from tasks.publication import store_artifact
from tasks.stages import last_reason, only_telling
from tasks.sweeps import Measured, evaluated, measure_intervals, numbers, table, write_tables
from tasks.worker_watch import end_with_worker
from tasks.workspace import checkout_lock, git, scan_folders


@flow(name="sweep", flow_run_name="sweep {file}", persist_result=False)
def sweep(file: GridFile, keep_going: bool = True, wait: bool = True) -> State[None]:
    """Run every cell that has not run on the present commit, and write reports/sweeps/NAME.md, .csv and .json after each.

    Args:
        file: a file of experiments/.
        keep_going: after a failed cell, run the others.
        wait: wait for another run on this checkout; else refuse.
    """
    end_with_worker()
    root, path = Path.cwd(), Path(file)
    try:
        grid = load_sweep(path)
        chosen = cells(grid, read_section("", root / "params.yaml"))
        check_overrides(root, {cell.title: cell.overrides for cell in chosen})
        with checkout_lock(root, wait=wait):
            remove_leftovers(root)
            scanned = scan_folders(root)
            if scanned:
                get_run_logger().info(scanned)
            records = folder_records(root, grid.sections)
            state = state_with(uncommitted(root), records)
            with laid_out(root, records) as copied:
                results = _run_cells(root, path.stem, grid, chosen, state, copied, keep_going=keep_going)
        rows = table(grid, results, measure_intervals(root, grid, results))
        text = write_tables(root / SWEEPS, path.stem, grid, _commit(root), rows, results)
    except PipelineError as error:
        return Failed(message=str(error))
    store_artifact(create_markdown_artifact, key="sweep", markdown=text, description=grid.title)
    store_artifact(create_table_artifact, key="sweep-table", table=rows, description=grid.title)
    failed = [result for result in results if result.state.startswith("failed")]
    if failed:
        return Failed(message="\n".join(f"{result.cell.title} {result.state}" for result in failed))
    return Completed(message=f"{len(results)} cells; {SWEEPS / path.stem}.md")


def _commit(root: Path) -> str:
    """What the cells run on, as people write it."""
    return git(root, "rev-parse", "--short", "HEAD") + (" with changes" if uncommitted(root) else "")


def _run_cells(root: Path, name: str, grid: SweepFile, chosen: list[Cell], state: str, copied: list[str], *, keep_going: bool) -> list[Measured]:
    processes, logger = Processes(root), get_run_logger()
    results: list[Measured] = []
    stands_on = state_of(root)
    try:
        for index, cell in enumerate(chosen, 1):
            logger.info("Cell %d of %d: %s", index, len(chosen), cell.title)
            experiment = cell_name(name, cell, grid.targets, state)
            results.append(run_cell.with_options(task_run_name=cell.title)(processes, cell, experiment, grid, copied))
            if state_of(root) != stands_on:
                if results[-1].state == "ran":
                    remove_experiment(root, experiment)
                raise PipelineError(f"the checkout changed while the cell {cell.title} ran; start the sweep again, which keeps the cells before it")
            write_tables(root / SWEEPS, name, grid, _commit(root), table(grid, results), results)
            if results[-1].state.startswith("failed") and not keep_going:
                break
    finally:
        processes.stop()
    return results


@task(name="cell", cache_policy=NO_CACHE, persist_result=False)
def run_cell(processes: Processes, cell: Cell, experiment: str, grid: SweepFile, copied: list[str]) -> Measured:
    """Run one cell, unless its experiment is there already."""
    logger = get_run_logger()
    logger.info("%s: %s", experiment, " ".join(cell.labelled))
    commit, state, seconds = find_experiment(processes.root, experiment), "finished before", None
    studies = {} if commit is None else studies_of(processes.root, commit, grid.sections)
    if commit is not None and lost_studies(processes.root, commit, grid.sections, studies):
        logger.info("DVC's cache has lost what this cell's studies wrote; it runs again.")
        remove_experiment(processes.root, experiment)
        commit = None
    if commit is None:
        began = time.monotonic()
        done = run_experiment(processes, experiment, cell.overrides, grid.targets, only_telling(logger.info), copied)
        seconds = time.monotonic() - began
        commit, state = find_experiment(processes.root, experiment), "ran"
        if done.status or commit is None:
            return Measured(cell, experiment, f"failed: {last_reason(done)}")
        studies = studies_of(processes.root, commit, grid.sections)
    metrics = _measured(processes.root, commit, grid.targets)
    tables = {name: per_query_of(processes.root, commit, name) for name in metrics}
    per_query = {(name, setting): own for name, settings in tables.items() for setting, own in settings.items()}
    return Measured(cell, experiment, state, numbers(metrics), per_query, seconds, studies)


def _measured(root: Path, commit: str, targets: list[str]) -> dict[str, Metrics]:
    """The metrics of the benchmarks that the targets evaluate; those of others are as they were committed, and no result of the cell."""
    found = metrics_of(root, commit)
    return {name: found[name] for name in evaluated(list(found), targets)}
