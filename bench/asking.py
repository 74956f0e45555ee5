"""Asking a collection: from process start to the first answer, steady answers, and 1,000,000 rows through every index next to plain faiss.

python -m bench.asking [IMAGES [INDEX…]], from a checkout in which `retrieval repro` has run. A graph of 1,000,000 images takes long to build: it
is measured with a tenth of the images. Plain faiss compares as many candidates again as the collection does.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.memory import peak_since, reset_peak

DIMENSIONS, QUERIES, TOP, CENTRES, HELD_OUT = 512, 50, 10, 20_000, 50_000
KINDS = ("flat", "scalar", "ivf_pq", "hnsw", "codes", "multi_index")
CANDIDATES = 200
ASKED = 100
BLOCK = 65536
Rows = npt.NDArray[Any]
Search = Callable[[Rows], npt.NDArray[np.int64]]


def vectors(seed: int, count: int) -> npt.NDArray[np.float32]:
    """Unit vectors around CENTRES, as descriptors of instances are."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((CENTRES, DIMENSIONS), np.float32)
    values = centres[generator.integers(0, CENTRES, count)] + 0.7 * generator.standard_normal((count, DIMENSIONS), np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def packed(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.packbits(values >= 0, axis=1, bitorder="little")


def write_rows(folder: Path, images: int, *, codes: bool) -> Rows:
    from pipeline.contracts.collections import ROWS, map_rows, new_rows

    rows = new_rows(folder / ROWS, (images, DIMENSIONS // 8 if codes else DIMENSIONS), np.uint8 if codes else np.float32)
    for first in range(0, images, BLOCK):
        own = vectors(1000 + first, min(BLOCK, images - first))
        rows[first : first + len(own)] = packed(own) if codes else own
    rows.flush()  # type: ignore[attr-defined]
    return map_rows(folder / ROWS)


def percentiles(search: Search, queries: Rows) -> tuple[float, float, npt.NDArray[np.int64]]:
    """(p50, p95) in milliseconds of queries asked one by one, after one to warm up; and the places found."""
    search(queries[:1])
    times, found = [], []
    for query in queries:
        started = time.perf_counter()
        found.append(search(query[None])[0])
        times.append(1000 * (time.perf_counter() - started))
    p50, p95 = np.percentile(times, [50, 95])
    return float(p50), float(p95), np.array(found)


def plain_index(kind: str, built: Any, rows: Rows) -> Any:
    """The same index in faiss without anything around it, which compares as many candidates again."""
    import faiss

    library: Any = faiss  # its stubs leave out the array functions

    if kind == "flat":
        index: Any = faiss.IndexFlatIP(DIMENSIONS)
    elif kind == "codes":
        index = faiss.IndexBinaryFlat(DIMENSIONS)
    elif kind == "multi_index":
        return built
    else:
        index = library.IndexRefineFlat(built, library.swig_ptr(np.ascontiguousarray(rows)))
        index.k_factor = CANDIDATES / TOP
        return index
    index.add(np.ascontiguousarray(rows))
    return index


def measured(kind: str, images: int, answer: Any) -> None:
    """Put a line of results into a queue."""
    import pyarrow as pa
    import torch

    from pipeline.contracts.collections import INDEX, IndexFacts
    from pipeline.search.candidate_index import build_candidate_index, save_index
    from pipeline.search.collection_params import CollectionParameters
    from pipeline.search.database import Database
    from pipeline.search.params import SearchParameters

    codes = kind in ("codes", "multi_index")
    name: Any = "flat" if kind == "codes" else kind
    with tempfile.TemporaryDirectory(prefix="asking-") as place:
        folder = Path(place)
        rows, queries = write_rows(folder, images, codes=codes), vectors(7, QUERIES)
        asked: Rows = packed(queries) if codes else queries
        built, started = None, time.perf_counter()
        if name != "flat":
            built = build_candidate_index(name, CollectionParameters(), rows, vectors(8, HELD_OUT))
            save_index(built, folder / INDEX)
        took = time.perf_counter() - started
        plain = plain_index(kind, built, rows)
        exact = plain_index("codes" if codes else "flat", None, rows).search(np.ascontiguousarray(asked), TOP)[1]
        plain_p50, plain_p95, _ = percentiles(lambda query: np.asarray(plain.search(query, TOP)[1]), asked)
        built = None
        size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        before = reset_peak()
        names = pa.chunked_array([pa.array([str(place) for place in range(images)])])
        database = Database(folder, IndexFacts(kind=name, candidates=CANDIDATES, loss={}), names, SearchParameters(), torch.device("cpu"))
        p50, p95, found = percentiles(lambda query: np.array([[int(each) for each in database.top(query, TOP).image_ids[0]]]), asked)
        recall = np.mean([len(set(got) & set(right)) / TOP for got, right in zip(found.tolist(), exact.tolist(), strict=True)])
        answer.put(
            f"{kind:>11} {images:>9} {took:>9.0f} {size:>9.0f} {peak_since(before):>9.0f} {recall:>7.3f} {p50:>8.1f} {p95:>8.1f} "
            f"{plain_p50:>8.1f} {plain_p95:>8.1f} {p50 / plain_p50:>6.2f}"
        )


def large(images: int, kinds: Sequence[str]) -> None:
    print(f"{QUERIES} questions one by one, {DIMENSIONS} dimensions or bits, the first {TOP}; peak: what the database adds, mapped files included")
    headings = ("images", "build s", "disk MiB", "peak MiB"), ("p50 ms", "p95 ms", "faiss", "p95")
    first, then = (" ".join(f"{name:>{width}}" for name in names) for names, width in zip(headings, (9, 8), strict=True))
    print(f"{'index':>11} {first} {'recall':>7} {then} {'ratio':>6}")
    context = get_context("spawn")
    for kind in kinds:
        answer = context.SimpleQueue()
        process = context.Process(target=measured, args=(kind, images // 10 if kind == "hnsw" else images, answer))
        process.start()
        print(answer.get(), flush=True)
        process.join()


def processor_seconds(*command: str) -> tuple[float, float]:
    """(seconds, processor seconds) of a command."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return time.perf_counter() - started, after.children_user + after.children_system - before.children_user - before.children_system


def small(folder: Path) -> None:
    """The collection of the embedded benchmark, asked with its own query photographs."""
    from pipeline.acquisition.packing import packed_photographs
    from pipeline.search.collection import Collection
    from pipeline.stage import places

    photographs = [each for each in packed_photographs(places.raw("gallery")) if each.role == "query"]
    with tempfile.TemporaryDirectory(prefix="asking-") as place:
        photo = Path(place, "photo.jpg")
        photo.write_bytes(photographs[0].data)
        torch = min(processor_seconds("-c", "import torch")[1] for _ in range(3))
        first, processor = min(processor_seconds("-m", "cli", "ask", str(photo), "--collection", "gallery") for _ in range(3))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    print(f"gallery, {size:.0f} MiB on disk: process start to answer {first:.2f} s, {processor:.2f} s of processor")
    print(f"beyond `import torch`: {processor - torch:.2f} s of processor")
    collection = Collection.open(folder)
    collection.ask(photographs[0].data)
    times = []
    for photograph in photographs[:ASKED]:
        started = time.perf_counter()
        collection.ask(photograph.data, photograph.box)
        times.append(1000 * (time.perf_counter() - started))
    started = time.perf_counter()
    answered = sum(1 for _ in collection.ask_all(photograph.data for photograph in photographs))
    p50, p95 = np.percentile(times, [50, 95])
    together = answered / (time.perf_counter() - started)
    print(f"steady: p50 {p50:.0f} ms, p95 {p95:.0f} ms of one photograph after the other; {together:.1f} a second together")


def main() -> None:
    from pipeline.stage import places

    folder = places.collection("gallery")
    if folder.exists():
        small(folder)
    else:
        print(f"{folder}: not there; the embedded benchmark is left out")
    large(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2:] or KINDS)


if __name__ == "__main__":
    main()
