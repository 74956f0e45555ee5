"""Stage report: reports/index.html, one static page with every benchmark's numbers, curves and pictures."""

import argparse
import logging
from pathlib import Path

from pipeline.contracts.entry import run_stage
from pipeline.contracts.parameters import load_section
from pipeline.contracts.run_record import Produced
from pipeline.contracts.tables import read_json, replacing
from pipeline.reporting.activation_studies import activation_page, training_curves
from pipeline.reporting.figures import per_query, precision_recall
from pipeline.reporting.page import BenchmarkPage, render, settings_of
from pipeline.reporting.params import BenchmarkParameters, ReportParameters, load_benchmarks
from pipeline.reporting.patch_studies import patch_similarity
from pipeline.reporting.region_studies import region_page
from pipeline.reporting.retrievals import choose
from pipeline.reporting.rows import read_rows
from pipeline.reporting.studies import mask_page, online_times, shown_in_masks, sweep_pages
from pipeline.reporting.thumbnails import stored_bytes, thumbnails

log = logging.getLogger(__name__)
REPORTS = Path("reports")


def main(arguments: list[str]) -> Produced:
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    parameters = load_section(ReportParameters, "report")
    benchmarks = load_benchmarks()
    pages = [_page(name, benchmark, parameters) for name, benchmark in benchmarks.items()]
    images: dict[str, str] = {}
    for page in pages:
        images |= _thumbnails(benchmarks[page.name], page.shown.image_ids | {image_id for image_id, _ in page.masks.pictures}, parameters.thumbnail)
    output = REPORTS / "index.html"
    studies = (
        sweep_pages(REPORTS / "sweeps"),
        online_times(REPORTS / "online_time.csv"),
        read_rows(REPORTS / "patch_matching.csv", "`python -m bench.patches`"),
        training_curves(REPORTS / "training"),
        read_rows(REPORTS / "instance_search.csv", "`python -m bench.instance_search`"),
    )
    with replacing(output) as partial:
        partial.write_text(render(pages, *studies, images, parameters.thumbnail), encoding="utf-8")
    log.info("%s: %d benchmarks, %d pictures.", output, len(pages), len(images))
    return Produced((output,), len(pages), "benchmarks")


def _page(name: str, benchmark: BenchmarkParameters, parameters: ReportParameters) -> BenchmarkPage:
    metrics = read_json(REPORTS / "metrics" / f"{name}.json")
    rows = read_rows(REPORTS / "per_query" / f"{name}.csv")
    shown = choose(Path("data/rankings") / name, rows, settings_of(metrics)[0].name, parameters.best, parameters.worst, parameters.results)
    study = REPORTS / "masks" / f"{name}.json"
    masks = mask_page(study, stored_bytes(Path("data/images") / benchmark.dataset, shown_in_masks(study)), parameters.thumbnail)
    curves = precision_recall(REPORTS / "plots" / f"{name}.csv")
    similarity = patch_similarity(REPORTS / "patch_similarity" / f"{name}.json")
    regions = region_page(REPORTS / "regions" / f"{name}.json")
    activations = activation_page(REPORTS / "activations" / f"{name}.json")
    about = read_json(REPORTS / "provenance" / f"{name}.json")
    return BenchmarkPage(name, metrics, about, curves, per_query(rows, name), shown, masks, similarity, regions, activations)


def _thumbnails(benchmark: BenchmarkParameters, wanted: set[str], side: int) -> dict[str, str]:
    found = thumbnails(Path("data/images") / benchmark.dataset, wanted, side)
    if benchmark.distractors != "none":
        found |= thumbnails(Path("data/images") / benchmark.distractors, wanted - found.keys(), side)
    return found


if __name__ == "__main__":
    run_stage(main)
