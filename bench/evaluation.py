"""Time and memory of exact mAP: one pass over descriptors on disk against the matrix product alone, and against a sort of every score.

python -m bench.evaluation             100,000 images beside a sort of all scores, then 1,000,000 beside the product alone
python -m bench.evaluation 10000000    as many images, in passes over blocks that are made anew each time instead of files
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

QUERIES, POSITIVES, BLOCK = 500, 20, 4096
LABELLED = 16384
"""Images at the beginning of the database, among them all positives; distractors follow."""
FILE = 2**17
Floats = npt.NDArray[np.float32]
Blocks = Callable[[], Iterator[tuple[list[str], Floats]]]


def unit(generator: np.random.Generator, count: int, dimensions: int) -> Floats:
    """Random directions."""
    rows = generator.standard_normal((count, dimensions), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def queries_of(dimensions: int) -> Floats:
    return unit(np.random.default_rng(0), QUERIES, dimensions)


def block_of(number: int, dimensions: int) -> Floats:
    """Rows of the database; in the first LABELLED of them, 20 positives lie near each query."""
    rows = unit(np.random.default_rng([1, number]), BLOCK, dimensions)
    first = number * BLOCK
    if first < LABELLED:
        for query, own in enumerate(queries_of(dimensions)):
            places = np.array([place for place in positives(query) if first <= place < first + BLOCK], np.int64) - first
            rows[places] += 0.4 * own
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def positives(query: int) -> range:
    """Places of the images that show what a query shows."""
    return range(query * POSITIVES, (query + 1) * POSITIVES)


def names(number: int, count: int) -> list[str]:
    return [f"i{place}" for place in range(number * BLOCK, number * BLOCK + count)]


def write(folder: Path, images: int, dimensions: int) -> None:
    """Descriptor shards as the stages write them."""
    from pipeline.contracts.descriptors import descriptor_columns, descriptor_writer

    for first in range(0, images, FILE):
        with descriptor_writer(folder / f"part-{first:09d}.parquet", dimensions) as writer:
            for number in range(first // BLOCK, -(-min(first + FILE, images) // BLOCK)):
                rows = block_of(number, dimensions)[: images - number * BLOCK]
                writer.write(descriptor_columns(names(number, len(rows)), rows))


def stored(folder: Path) -> Blocks:
    from pipeline.contracts.descriptors import read_descriptors

    return lambda: (block for path in sorted(folder.iterdir()) for block in read_descriptors(path, BLOCK))


def made(images: int, dimensions: int) -> Blocks:
    def blocks() -> Iterator[tuple[list[str], Floats]]:
        for number in range(-(-images // BLOCK)):
            rows = block_of(number, dimensions)[: images - number * BLOCK]
            yield names(number, len(rows)), rows

    return blocks


def exact_map(blocks: Blocks, images: int, dimensions: int) -> float:
    """The stages' way: first results and counts in one pass, and average precision from counts."""
    import itertools

    import torch

    from pipeline.contracts.protocols import PROTOCOLS
    from pipeline.evaluation.protocols import Label, score_query
    from pipeline.search.one_pass import search_and_count

    labelled = [[f"i{place}" for place in positives(query)] for query in range(QUERIES)]
    few = LABELLED // BLOCK
    found, counts = search_and_count(
        torch.from_numpy(queries_of(dimensions)), blocks, labelled, 200, labelled_blocks=lambda: itertools.islice(blocks(), few)
    )
    assert found.size == images
    labels: list[list[Label]] = [[] for _ in range(QUERIES)]
    for (query, image), score, above, equal in zip(counts.pairs, counts.scores, counts.above, counts.equal, strict=True):
        labels[query].append(Label(image, "good", float(score), int(above), int(equal)))
    results = [score_query(str(query), own, PROTOCOLS["oxford"][""], images) for query, own in enumerate(labels)]
    return float(np.mean([result.average_precision["trapezoid"] for result in results if result]))


def product(blocks: Blocks, images: int, dimensions: int) -> float:
    """The matrix product alone: every block is the first one, in memory."""
    import torch

    queries, rows = torch.from_numpy(queries_of(dimensions)), torch.from_numpy(next(blocks())[1].copy())
    return sum(float((queries @ rows.T)[0, 0]) for _ in range(-(-images // BLOCK)))


def passed(blocks: Blocks, images: int, dimensions: int) -> float:
    """A pass that computes nothing."""
    assert sum(rows.size for _, rows in blocks()) == images * dimensions
    return 0.0


def sorted_map(blocks: Blocks, images: int, dimensions: int) -> float:
    """The plain way: all scores, one argsort a query, positives found by membership."""
    database = np.empty((images, dimensions), np.float32)
    np.concatenate([rows for _, rows in blocks()], out=database)
    scores = queries_of(dimensions) @ database.T
    total = 0.0
    for query in range(QUERIES):
        order = np.argsort(-scores[query])
        rank = np.flatnonzero(np.isin(order, positives(query)))
        found = np.arange(len(rank))
        left = np.divide(found, rank, out=np.ones(len(rank)), where=rank > 0)
        total += float(((left + (found + 1) / (rank + 1)) / 2).mean())
    return total / QUERIES


WAYS = {"one pass": exact_map, "a pass that computes nothing": passed, "product alone": product, "sorting": sorted_map}


def measured(way: str, folder: Path | None, images: int, dimensions: int, answer: Any) -> None:
    """Put (value, seconds, peak MiB above what the imports take) into a queue."""
    import pipeline.evaluation.protocols
    import pipeline.search.one_pass  # noqa: F401 -- and torch with it: all ways pay for imports before the clock starts
    from pipeline.contracts.running.device import prepare_processor

    prepare_processor()
    blocks = stored(folder) if folder else made(images, dimensions)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    value = WAYS[way](blocks, images, dimensions)
    taken = time.perf_counter() - start
    unit = 1024 if sys.platform == "linux" else 1024**2
    answer.put((value, taken, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit))


def run(way: str, folder: Path | None, images: int, dimensions: int) -> tuple[float, float, float]:
    """One way in a process of its own."""
    context = get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=measured, args=(way, folder, images, dimensions, answer))
    process.start()
    value, taken, peak = answer.get()
    process.join()
    print(f"{way}: {value:.6f} in {taken:.1f} s, peak {peak:.0f} MiB ({QUERIES} queries, {images} images of {dimensions} dimensions)", flush=True)
    return value, taken, peak


def main() -> None:
    if len(sys.argv) > 1:
        images = int(sys.argv[1])
        _, making, _ = run("a pass that computes nothing", None, images, 64)
        _, whole, _ = run("one pass", None, images, 64)
        _, alone, _ = run("product alone", None, images, 64)
        print(f"ratio: {(whole - making) / alone:.2f} times the time of the product alone, the making of blocks left out")
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, 100_000, 256)
        (value, own, mine), (other, plain, theirs) = (run(way, folder, 100_000, 256) for way in ("one pass", "sorting"))
        print(f"ratio: {plain / own:.2f} times the speed, {mine / theirs:.2f} of the memory; the two means differ by {abs(value - other):.1e}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, 1_000_000, 512)
        times = [(run("one pass", folder, 1_000_000, 512)[1], run("product alone", folder, 1_000_000, 512)[1]) for _ in range(3)]
        ratios = sorted(one / alone for one, alone in times)
        print(f"ratio: {ratios[1]:.2f} times the time of the product alone ({ratios[0]:.2f} to {ratios[2]:.2f})")


if __name__ == "__main__":
    main()
