"""Several items at a time, each by one thread alone, so that no result depends on the number of threads."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def single_threads(count: int) -> ThreadPoolExecutor:
    """Threads in each of which torch computes without further threads; those of the calling thread stay as they are."""
    import torch

    before, all_there = torch.get_num_threads(), threading.Barrier(count)

    def alone() -> None:
        all_there.wait()  # so that every thread starts now
        torch.get_num_threads()  # from now on torch takes this thread's number for decided
        torch.set_num_threads(1)
        all_there.wait()  # so that no thread says 1 after the calling one has said its own number again

    pool = ThreadPoolExecutor(count, "alone", initializer=alone)
    for started in [pool.submit(int) for _ in range(count)]:
        started.result()
    torch.set_num_threads(before)  # for threads to come, too
    return pool


def in_order(compute: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """The result of every item, in their order, `threads` of them computed at a time; by the calling thread where it is one."""
    if threads == 1:
        yield from map(compute, items)
        return
    with single_threads(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(compute, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:  # nobody takes the results any more
                each.cancel()
