"""Paired timing: two ways of doing the same work in turn, and the ratio of their medians; processor time of other processes."""

import resource
import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def paired(one: Callable[[], object], other: Callable[[], object], rounds: int = 3) -> tuple[float, float]:
    """Median seconds of two works, run A B A B … after one uncounted round."""
    one()
    other()
    times = [(seconds(one), seconds(other)) for _ in range(rounds)]
    return statistics.median(first for first, _ in times), statistics.median(second for _, second in times)


def processor_seconds() -> float:
    """Of all processes that this one started and that have ended, their own included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
