"""Patch matching at the size of Oxford5k against the matrix product alone and a naive version; writes reports/patch_matching.csv (paper 1, §5.3)."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch.nn.functional import normalize

from bench.memory import peak_since, reset_peak
from bench.timing import paired, seconds
from pipeline.contracts.running.device import prepare_processor
from pipeline.search.params import SearchParameters
from pipeline.search.patch_matching import patch_distances
from pipeline.search.patch_scan import PatchBlocks, scan_patches, scan_shortlist
from pipeline.stage.text_tables import write_csv

OUTPUT = Path("reports/patch_matching.csv")
QUERIES, QUERY_PATCHES = 55, 14
REFERENCES, REFERENCE_PATCHES = 5063, 30
MANY, SHORTLIST = 20_000, 100
SLICE = 40
"""References of the naive comparison."""


def patches(images: int, count: int, dimensions: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(images, count, dimensions, generator=torch.Generator().manual_seed(seed)), dim=2)


def product(queries: torch.Tensor, references: torch.Tensor, block: int) -> Callable[[], None]:
    """The matrix product of all patches, block by block into the same memory."""
    rows, columns = queries.flatten(0, 1), references.flatten(0, 1)
    out = torch.empty(len(rows), block)

    def work() -> None:
        for part in columns.split(block):
            torch.mm(rows, part.T, out=out[:, : len(part)] if len(part) < block else out)

    return work


def fastest_product(queries: torch.Tensor, references: torch.Tensor) -> Callable[[], None]:
    """The same with the block length that is fastest here."""
    works = {block: product(queries, references, block) for block in (256, 1024, 4096)}
    for work in works.values():
        work()
    return works[min(works, key=lambda block: min(seconds(works[block]) for _ in range(2)))]


def naive(queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Every difference at once, query by query."""
    return torch.stack([(query[None, :, None] - references[:, None]).square().sum(dim=3).sqrt().amin(dim=2).sum(dim=1) for query in queries])


def blocks(references: torch.Tensor) -> PatchBlocks:
    names = [f"i{index}" for index in range(len(references))]
    return lambda: ((names[first : first + 128], references[first : first + 128].numpy()) for first in range(0, len(names), 128))


def memory(work: str, dimensions: int) -> float:
    """MiB that a first run takes above queries and references; call it in a fresh process."""
    torch.set_grad_enabled(False)
    references = patches(SLICE if work == "naive" else REFERENCES, REFERENCE_PATCHES, dimensions, 1)
    queries = patches(QUERIES, QUERY_PATCHES, dimensions, 0)
    compare = naive if work == "naive" else patch_distances
    compare(queries[:1], references[:2])  # libraries are loaded by a first call
    before = reset_peak()
    compare(queries, references)
    return peak_since(before)


def peaks(dimensions: int) -> tuple[float, float]:
    """Peak memory of ours and of the naive version."""
    found = []
    for work in ("ours", "naive"):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found.append(pool.submit(memory, work, dimensions).result())
    return found[0], found[1]


Row = tuple[int, int, str, float, float, float | None]
"""Dimensions, references, what is timed, seconds, their share of the product's, MiB more than before."""


def search_times() -> list[Row]:
    """Search of a larger stored database, whole and by a shortlist."""
    queries, references = patches(QUERIES, QUERY_PATCHES, 256, 0), patches(MANY, REFERENCE_PATCHES, 256, 1)
    parameters = SearchParameters(top_k=10, shortlist=SHORTLIST)
    alone, whole = paired(fastest_product(queries, references), lambda: scan_patches(queries, blocks(references), "l2"))
    again, two_step = paired(
        lambda: scan_patches(queries, blocks(references), "l2"), lambda: scan_shortlist(queries, blocks(references), parameters, MANY)
    )
    print(f"search of {MANY} references: {whole:.2f} s; by a shortlist of {SHORTLIST}: {two_step:.2f} s, {again / two_step:.1f} times as fast")
    return [
        (256, MANY, "search", whole, whole / alone, None),
        (256, MANY, f"search by a shortlist of {SHORTLIST}", two_step, two_step / alone, None),
    ]


def measure(dimensions: int) -> list[Row]:
    queries, references = patches(QUERIES, QUERY_PATCHES, dimensions, 0), patches(REFERENCES, REFERENCE_PATCHES, dimensions, 1)
    alone, matching = paired(fastest_product(queries, references), lambda: patch_distances(queries, references))
    own_memory, naive_memory = peaks(dimensions)
    print(f"{dimensions} dimensions: {matching:.2f} s, {matching / alone:.2f} times the product alone ({alone:.2f} s), {own_memory:.0f} MiB more")
    part = references[:SLICE]
    plain, ours = paired(lambda: naive(queries, part), lambda: patch_distances(queries, part))
    print(f"  naive, {SLICE} references: {plain:.2f} s, {plain / ours:.0f} times ours, {naive_memory:.0f} MiB more", flush=True)
    scale = REFERENCES / SLICE
    return [
        (dimensions, REFERENCES, "matrix product alone", alone, 1.0, None),
        (dimensions, REFERENCES, "patch distances", matching, matching / alone, own_memory),
        (dimensions, REFERENCES, f"naive, scaled from {SLICE} references", plain * scale, plain * scale / alone, naive_memory * scale),
    ]


def main() -> None:
    prepare_processor()
    torch.set_grad_enabled(False)
    rows = [row for dimensions in (256, 512, 1024) for row in measure(dimensions)] + search_times()
    headings = ("dimensions", "references", "work", "seconds", "times the product", "MiB more than before")
    shown = [(*row[:3], f"{row[3]:.2f}", f"{row[4]:.2f}", None if row[5] is None else f"{row[5]:.0f}") for row in rows]
    write_csv(OUTPUT, headings, (dict(zip(headings, row, strict=True)) for row in shown))
    print(f"{OUTPUT} is written; run `retrieval repro` to renew the report")


if __name__ == "__main__":
    main()
