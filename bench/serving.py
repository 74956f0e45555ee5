"""The service under load: answers per second, waiting times and memory with 1, 8 and 32 clients, next to a plain loop over the same photographs.

python -m bench.serving [SECONDS], from a checkout in which `retrieval repro` has run. The plain loop asks an opened collection in one process,
before and after the load. Every answer of the service is held against the loop's.
"""

import itertools
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

CLIENTS = (1, 8, 32)
PHOTOGRAPHS = 64
TOP = 10


def photographs() -> list[bytes]:
    """Queries of the embedded benchmark."""
    from tests.end_to_end.asking import query_photographs
    from tests.end_to_end.conftest import project_at

    return [each.data for each in itertools.islice(query_photographs(project_at(Path.cwd())), PHOTOGRAPHS)]


def plain_loop(asked: list[bytes], seconds: float) -> tuple[float, list[list[str]]]:
    """Answers per second of one process without a service, and the images that it finds for every photograph."""
    from pipeline.search.collection import Collection

    collection = Collection.open("data/collection/gallery")
    found = [[each.image_id for each in collection.ask(photo, top=TOP).results] for photo in asked]
    count, began = 0, time.perf_counter()
    for photo in itertools.cycle(asked):
        collection.ask(photo, top=TOP)
        count += 1
        if time.perf_counter() - began > seconds:
            break
    return count / (time.perf_counter() - began), found


def loaded(address: str, asked: list[bytes], expected: list[list[str]], clients: int, seconds: float) -> tuple[float, list[float], int]:
    """Answers per second, every answer's seconds, and how many answers are wrong or missing."""
    import httpx

    times: deque[float] = deque()
    wrong: deque[Any] = deque()
    ends = time.perf_counter() + seconds

    def client(first: int) -> None:
        with httpx.Client(base_url=address, timeout=60) as own:
            for number in itertools.count(first):
                began = time.perf_counter()
                if began > ends:
                    return
                place = number % len(asked)
                reply = own.post("/api/ask", files={"photograph": asked[place]}, data={"top": str(TOP)})
                times.append(time.perf_counter() - began)
                if reply.status_code != 200 or [each["image_id"] for each in reply.json()["results"]] != expected[place]:
                    wrong.append(reply)

    began = time.perf_counter()
    threads = [threading.Thread(target=client, args=(7 * number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(times) / (time.perf_counter() - began), list(times), len(wrong)


def main() -> None:
    from tests.end_to_end.service import ServiceProcess

    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    asked = photographs()
    before, expected = plain_loop(asked, seconds)
    lines = []
    with tempfile.TemporaryDirectory(prefix="serving-") as place, ServiceProcess(Path.cwd(), Path(place, "log")) as service:
        for clients in CLIENTS:
            rate, times, wrong = loaded(service.address, asked, expected, clients, seconds)
            p50, p95, p99 = 1000 * np.percentile(times, [50, 95, 99])
            lines.append((clients, rate, p50, p95, p99, wrong, service.memory / 2**20))
    after, _ = plain_loop(asked, seconds)
    plain = (before + after) / 2
    print(f"plain loop {before:.1f} and {after:.1f} answers/s")
    print("clients  answers/s  to plain  p50 ms  p95 ms  p99 ms  wrong  MiB")
    for clients, rate, p50, p95, p99, wrong, memory in lines:
        print(f"{clients:>7} {rate:>10.1f} {rate / plain:>9.2f} {p50:>7.0f} {p95:>7.0f} {p99:>7.0f} {wrong:>6} {memory:>4.0f}")


if __name__ == "__main__":
    main()
