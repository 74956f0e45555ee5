"""1,000,000 codes of 512 bits, 100 queries: time and memory of the top 100 and of exact counts, against 512 float32 values per image."""

from collections.abc import Iterator
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.memory import peak_since, reset_peak
from bench.timing import seconds

IMAGES, QUERIES, BITS, LABELLED, TOP, BLOCK, ROUNDS = 1_000_000, 100, 512, 20, 100, 65536, 3
Rows = npt.NDArray[Any]


def rows(kind: str, first: int, count: int) -> Rows:
    """`count` random rows that stand at `first`: packed codes, or vectors of as many dimensions as a code has bits."""
    generator = np.random.default_rng(first)
    if kind == "codes":
        return generator.integers(0, 256, (count, BITS // 8), np.uint8)
    return generator.standard_normal((count, BITS), np.float32)


def search(kind: str) -> tuple[float, ...]:
    """(seconds of the top 100, seconds of exact counts); the database is held in memory, as a search service would hold it."""
    import torch

    from pipeline.search.code_scan import count_labelled_codes, nearest_codes
    from pipeline.search.vector_scan import count_labelled, top_results

    torch.set_num_threads(2)
    ids = [str(index) for index in range(IMAGES)]
    database = [(ids[first : first + BLOCK], rows(kind, first, min(BLOCK, IMAGES - first))) for first in range(0, IMAGES, BLOCK)]
    queries = rows(kind, IMAGES, QUERIES)
    labelled = [[ids[(997 * query + 7919 * index) % IMAGES] for index in range(LABELLED)] for query in range(QUERIES)]

    def blocks() -> Iterator[tuple[list[str], Rows]]:
        return iter(database)

    if kind == "codes":
        works = (lambda: nearest_codes(queries, blocks, TOP)), (lambda: count_labelled_codes(queries, blocks, labelled))
    else:
        vectors = torch.from_numpy(queries)
        works = (lambda: top_results(vectors, blocks, TOP)), (lambda: count_labelled(vectors, blocks, labelled))
    return tuple(sorted(seconds(work) for _ in range(ROUNDS))[ROUNDS // 2] for work in works)


def measured(kind: str, answer: Any) -> None:
    """Put (seconds of the top 100, seconds of the counts, peak MiB) into a queue."""
    import torch  # noqa: F401  both kinds pay for it before the mark

    before = reset_peak()
    times = search(kind)
    answer.put((*times, peak_since(before)))


def main() -> None:
    print(f"{QUERIES} queries, {IMAGES} images, {BITS} bits against {BITS} float32 values")
    context = get_context("spawn")
    results = {}
    for kind in ("codes", "floats"):
        answer = context.SimpleQueue()
        process = context.Process(target=measured, args=(kind, answer))
        process.start()
        results[kind] = top, counts, peak = answer.get()
        process.join()
        print(f"{kind}: top {TOP} in {top:.2f} s, exact counts in {counts:.2f} s, peak {peak:.0f} MiB")
    (top, counts, peak), (float_top, float_counts, float_peak) = results["codes"], results["floats"]
    print(f"ratio: top {float_top / top:.1f}, counts {float_counts / counts:.1f} times the speed, {peak / float_peak:.2f} of the memory")


if __name__ == "__main__":
    main()
