"""Time and memory of mAP over 100,000 images: rank by counting in blocks against an argsort of every query's scores."""

import resource
import sys
from collections.abc import Iterator
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

IMAGES, QUERIES, DIMENSIONS, POSITIVES, BLOCK = 100_000, 500, 256, 20, 4096
Floats = npt.NDArray[np.float32]


def data() -> tuple[Floats, Floats, list[list[str]]]:
    """(queries, database, ids of each query's positives); positives lie near their query."""
    generator = np.random.default_rng(0)
    database = generator.standard_normal((IMAGES, DIMENSIONS), np.float32)
    queries = generator.standard_normal((QUERIES, DIMENSIONS), np.float32)
    places = generator.permutation(IMAGES)[: QUERIES * POSITIVES].reshape(QUERIES, POSITIVES)
    for query, row in enumerate(places):
        database[row] += 0.2 * queries[query]
    return queries, database, [[f"i{place}" for place in row] for row in places]


def by_counting() -> float:
    """The stages' way: top results, counts, and AP from counts."""
    import torch

    from pipeline.evaluation.protocols import PROTOCOLS, Label, score_query
    from pipeline.search.vector_scan import count_labelled

    queries, database, positives = data()
    ids = [f"i{index}" for index in range(IMAGES)]

    def blocks() -> Iterator[tuple[list[str], Floats]]:
        for first in range(0, IMAGES, BLOCK):
            yield ids[first : first + BLOCK], database[first : first + BLOCK]

    counts = count_labelled(torch.from_numpy(queries), blocks, positives)
    labels: list[list[Label]] = [[] for _ in range(QUERIES)]
    for (query, image), score, above, equal in zip(counts.pairs, counts.scores, counts.above, counts.equal, strict=True):
        labels[query].append(Label(image, "good", float(score), int(above), int(equal)))
    results = [score_query(str(query), own, PROTOCOLS["oxford"][""], IMAGES) for query, own in enumerate(labels)]
    return float(np.mean([result.average_precision["trapezoid"] for result in results if result]))


def by_sorting() -> float:
    """The plain way: all scores, one argsort a query, positives found by membership."""
    queries, database, positives = data()
    scores = queries @ database.T
    total = 0.0
    for query, wanted in enumerate(positives):
        order = np.argsort(-scores[query])
        rank = np.flatnonzero(np.isin(order, [int(name[1:]) for name in wanted]))
        found = np.arange(len(rank))
        left = np.divide(found, rank, out=np.ones(len(rank)), where=rank > 0)
        total += float(((left + (found + 1) / (rank + 1)) / 2).mean())
    return total / QUERIES


def measured(name: str, answer: object) -> None:
    """Run one way in this process and put (mAP, seconds, peak MiB above the data) into a queue."""
    import time

    import torch  # both ways pay for the import before the clock starts

    torch.set_num_threads(2)
    data()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    value = {"counting": by_counting, "sorting": by_sorting}[name]()
    taken = time.perf_counter() - start
    unit = 1024 if sys.platform == "linux" else 1024**2
    answer.put((value, taken, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit))  # type: ignore[attr-defined]


def main() -> None:
    print(f"{QUERIES} queries, {IMAGES} images, {DIMENSIONS} dimensions")
    results = {}
    context = get_context("spawn")
    for name in ("counting", "sorting"):
        answer = context.SimpleQueue()
        process = context.Process(target=measured, args=(name, answer))
        process.start()
        results[name] = answer.get()
        process.join()
        value, taken, peak = results[name]
        print(f"{name}: mAP {value:.6f} in {taken:.1f} s, peak {peak:.0f} MiB above the data ({QUERIES} queries, {IMAGES} images)")
    (_, own, mine), (_, other, theirs) = results["counting"], results["sorting"]
    print(f"ratio: {other / own:.2f} times the speed, {mine / max(theirs, 1e-9):.2f} of the memory")


if __name__ == "__main__":
    main()
