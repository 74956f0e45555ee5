"""Stage report: reports/index.html, one static page with every benchmark's numbers, curves and pictures, and the studies that are there;
reports/pictures, what it enlarges."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from pipeline.contracts.benchmarks import BenchmarkParameters, load_benchmarks
from pipeline.contracts.collections import current_version
from pipeline.contracts.metrics import Metrics
from pipeline.contracts.rankings import Provenance
from pipeline.reporting.activation_studies import activation_page, training_curves
from pipeline.reporting.figures import per_query, precision_recall
from pipeline.reporting.made import marked, write_made
from pipeline.reporting.mask_studies import mask_page, shown_in_masks
from pipeline.reporting.online_times import online_times
from pipeline.reporting.page import BenchmarkPage, render
from pipeline.reporting.params import ReportParameters
from pipeline.reporting.patch_studies import patch_similarity
from pipeline.reporting.pictures import files_of, picture_name, write_pictures
from pipeline.reporting.query_tables import answers_to_queries, instances_of_queries, query_rows
from pipeline.reporting.region_studies import region_page
from pipeline.reporting.retrievals import Retrievals, choose
from pipeline.reporting.sweeps import sweep_pages
from pipeline.reporting.thumbnails import stored_bytes, thumbnails
from pipeline.reporting.viewer import ShownImage, viewer_data
from pipeline.stage import places
from pipeline.stage.entry import run_stage
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import read_json, replacing
from pipeline.stage.text_tables import read_rows

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    parameters = load_section(ReportParameters, "report")
    benchmarks = load_benchmarks()
    pages = [_page(name, benchmark, parameters) for name, benchmark in benchmarks.items()]
    wanted: dict[Path, set[str]] = {}
    for number, page in enumerate(pages):
        own, shown = _pictures(benchmarks[page.name], page.shown, parameters.pictured)
        for folder, ids in own.items():
            wanted.setdefault(folder, set()).update(ids)
        pages[number] = replace(page, results=viewer_data(page.queries, page.shown, shown))
    images: dict[str, str] = {}
    for page in pages:
        masked = {image_id for image_id, _ in page.masks.pictures} if page.masks else set()
        images |= _thumbnails(benchmarks[page.name], page.shown.image_ids | masked, parameters.thumbnail)
    studies = (
        [page for page in sweep_pages(places.SWEEPS) if page.benchmarks & benchmarks.keys()],
        online_times(places.REPORTS / "online_time.csv"),
        read_rows(places.REPORTS / "patch_matching.csv", "`python -m bench.patches`"),
        training_curves(places.TRAINING),
        read_rows(places.REPORTS / "instance_search.csv", "`python -m bench.instance_search`"),
    )
    count = write_pictures(places.PICTURES, wanted, parameters.picture)
    text, contents = marked(render(pages, *studies, images, parameters.thumbnail))
    with replacing(places.PAGE) as partial:
        partial.write_text(text, encoding="utf-8")
    write_made(places.MADE, contents)
    log.info("%s: %d benchmarks; %s: %d pictures.", places.PAGE, len(pages), places.PICTURES, count)
    return Produced((places.PAGE, places.PICTURES), len(pages), "benchmarks")


def _page(name: str, benchmark: BenchmarkParameters, parameters: ReportParameters) -> BenchmarkPage:
    metrics = Metrics.load(places.metrics(name))
    rows = read_rows(places.per_query(name))
    setting = metrics.settings[0].name
    masks, regions, activations = (places.study(kind, name) for kind in ("masks", "regions", "activations"))
    return BenchmarkPage(
        name,
        metrics,
        Provenance.model_validate(read_json(places.provenance(name))),
        precision_recall(places.curves(name)),
        per_query(rows, name),
        choose(places.rankings(name), rows, setting, parameters.best, parameters.worst, parameters.results),
        mask_page(masks, stored_bytes(places.images(benchmark.dataset), shown_in_masks(masks)), parameters.thumbnail) if masks.exists() else None,
        patch_similarity(study) if (study := places.study("patch_similarity", name)).exists() else (),
        region_page(regions) if regions.exists() else None,
        activation_page(activations) if activations.exists() else None,
        current_version(places.collection(name)).facts.index,
        query_rows(rows, setting, instances_of_queries(benchmark.dataset), answers_to_queries(places.rankings(name))),
    )


def _pictures(benchmark: BenchmarkParameters, shown: Retrievals, pictured: int) -> tuple[dict[Path, set[str]], dict[str, ShownImage]]:
    """The pictures that the viewer needs, by data/images/DATASET, and every image that it names."""
    with_picture = set(shown.image_ids)
    for query in list(shown.every)[max(len(shown.every) - pictured, 0) :]:
        with_picture |= {query.query_id, *(hit.image_id for hit in query.hits)}
    left = with_picture | {image_id for query in shown.every for image_id in (query.query_id, *(hit.image_id for hit in query.hits))}
    folders, found = dict[Path, set[str]](), dict[str, ShownImage]()
    for dataset in dict.fromkeys((benchmark.dataset, benchmark.distractors)):
        files = files_of(places.images(dataset), left)
        folders[places.images(dataset)] = with_picture & files.keys()
        for image_id, file in files.items():
            found[image_id] = ShownImage(file, picture_name(dataset, image_id) if image_id in with_picture else None)
        left -= files.keys()
    return folders, found


def _thumbnails(benchmark: BenchmarkParameters, wanted: set[str], side: int) -> dict[str, str]:
    found = thumbnails(places.images(benchmark.dataset), wanted, side)
    if benchmark.distractors != "none":
        found |= thumbnails(places.images(benchmark.distractors), wanted - found.keys(), side)
    return found


if __name__ == "__main__":
    run_stage(main)
