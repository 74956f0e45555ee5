"""The report of a large benchmark: seconds to make it, bytes, and what a browser needs to show it.

python -m bench.report [QUERIES], 5,000 where none are given; needs Chromium. Rankings, photographs and names are made by a program; page, viewer
and pictures by the stage's own code.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.contracts.images.image_shards import KIND, StoredImage, image_columns, image_writer
from pipeline.contracts.metrics import Metrics, Scores
from pipeline.contracts.rankings import ANSWERS, ANSWERS_SCHEMA, COUNTS_SCHEMA, RANKING_SCHEMA
from pipeline.imaging.images import encode
from pipeline.reporting.page import BenchmarkPage, render
from pipeline.reporting.pictures import picture_name, write_pictures
from pipeline.reporting.query_tables import query_rows
from pipeline.reporting.retrievals import choose
from pipeline.reporting.thumbnails import thumbnails
from pipeline.reporting.viewer import ShownImage, viewer_data
from pipeline.stage.manifest import Manifest, describe_parts
from pipeline.stage.tables import write_table
from tests.reporting.test_report import provenance

RANKED, SHOWN, BEST = 100, 8, 6
GROUP = 256
SEARCH = """() => {
  const began = performance.now(), search = document.querySelector("input[data-table]");
  search.value = "piece 123";
  search.dispatchEvent(new Event("input"));
  document.body.getBoundingClientRect();
  return performance.now() - began;
}"""
"""Types into the search and waits until the rows that are left are laid out."""


def write_rankings(folder: Path, queries: list[str], images: list[str]) -> list[dict[str, str]]:
    """Rankings of random images, of which the first four of a query's own are relevant; rows of per_query."""
    random = np.random.default_rng(0)
    order = random.integers(0, len(images), (len(queries), RANKED))
    ids = [images[place] for place in order.ravel()]
    ranks, scores = np.tile(np.arange(RANKED), len(queries)), np.tile(np.linspace(1, 0, RANKED), len(queries))
    asked = np.repeat(queries, RANKED).tolist()
    empty = [None] * len(ids)
    columns = dict(zip(RANKING_SCHEMA.names, (asked, ranks, ids, scores, empty, empty, empty, empty), strict=True))
    write_table(folder / "ranking-database.parquet", "ranking", RANKING_SCHEMA, columns)
    write_table(folder / "irrelevant-database.parquet", "ranking", RANKING_SCHEMA, {name: [] for name in RANKING_SCHEMA.names})
    counts = [(query, images[place], "good", 0.5, rank, 1) for query, row in zip(queries, order, strict=True) for rank, place in enumerate(row[:4])]
    write_table(folder / "counts-database.parquet", "counts", COUNTS_SCHEMA, dict(zip(COUNTS_SCHEMA.names, zip(*counts, strict=True), strict=True)))
    write_table(folder / ANSWERS, "answers", ANSWERS_SCHEMA, {name: [] for name in ANSWERS_SCHEMA.names})
    return [{"query_id": query, "setting": "database", "ap": f"{random.random():.4f}", "first_positive": "0"} for query in queries]


def write_photographs(folder: Path, names: list[str]) -> None:
    """Different photographs of 640×480 pixels in the shards that the stage resize writes."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    with image_writer(folder / "part-00000.parquet") as writer:
        for first in range(0, len(names), GROUP):
            some = []
            for name in names[first : first + GROUP]:
                clouds = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
                some.append(StoredImage(name, encode(clouds, "jpeg", 90), 640, 480, 1.0))
            writer.write(image_columns(some))
    Manifest(KIND, describe_parts(folder, ["part-00000.parquet"]), {}).save(folder)


def make(root: Path, count: int) -> Path:
    """The report of so many queries in as many images; prints what it costs."""
    queries, images = [f"query/piece {place:05d}.jpg" for place in range(count)], [f"database/piece {place:05d}.jpg" for place in range(count)]
    per_query = write_rankings(root / "rankings", queries, images)
    write_photographs(root / "images/museum", queries + images)
    began = time.perf_counter()
    shown = choose(root / "rankings", per_query, "database", BEST, BEST, SHOWN)
    rows = query_rows(per_query, "database", {name: f"piece {place}" for place, name in enumerate(queries)}, {})
    files = {name: ShownImage(name, picture_name("museum", name)) for name in queries + images}
    results = viewer_data(rows, shown, files)
    pictures = write_pictures(root / "reports/pictures", {root / "images/museum": set(files)}, 480)
    metrics = Metrics(database_images=count, database=Scores(map=0.5))
    bench = BenchmarkPage("museum", metrics, provenance(), "", "", shown, queries=rows, results=results)
    small = thumbnails(root / "images/museum", shown.image_ids, 120)
    page = root / "reports/index.html"
    page.write_text(render([bench], [], [], [], {}, [], small, 120), encoding="utf-8")
    seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in (root / "reports/pictures").rglob("*.jpg"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} queries in {count} images: made in {seconds:.1f} s, memory at most {peak:.0f} MiB")
    print(f"page {page.stat().st_size / 2**20:.1f} MiB, {pictures} pictures {size / 2**20:.0f} MiB")
    return page


def show(page_file: Path) -> None:
    """What a browser needs: until something is painted, until a query is enlarged, and its memory."""
    from playwright.sync_api import sync_playwright

    from tests.end_to_end.chromium import launched

    with sync_playwright() as playwright:
        browser = launched(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(page_file.resolve().as_uri())
        painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        loaded = page.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart")
        began = time.perf_counter()
        page.locator("#museum-table tbody a").first.click()
        page.wait_for_function("document.querySelector('#viewer-result').naturalWidth > 0")
        opened = time.perf_counter() - began
        page.keyboard.press("Escape")
        searched = page.evaluate(SEARCH)
        memory = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
        browser.close()
    print(
        f"first paint after {painted:.0f} ms, loaded after {loaded:.0f} ms; a query enlarged in {1000 * opened:.0f} ms, a search in {searched:.0f} ms"
    )
    print(f"memory of the page's script {memory:.0f} MiB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        show(make(Path(place), int(sys.argv[1]) if len(sys.argv) > 1 else 5000))
