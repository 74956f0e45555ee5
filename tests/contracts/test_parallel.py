"""Several items at a time, each by one thread."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pipeline.contracts.running.parallel import in_order


def of_a_new_thread() -> int:
    """Threads that torch uses in a thread that starts now."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch with two threads, in this thread and in those to come."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_results_come_in_order_and_each_thread_computes_alone() -> None:

    def late(item: int) -> tuple[int, int]:
        time.sleep(0.02 * (item % 3))
        torch.ones(300, 300) @ torch.ones(300, 300)  # a thread decides its number at its first operation
        return item, torch.get_num_threads()

    assert list(in_order(late, range(20), 3)) == [(item, 1) for item in range(20)]
    assert torch.get_num_threads() == 2
    assert of_a_new_thread() == 2, "threads that start later have as many as the one that asked"


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = in_order(lambda item: item, items(), 2)
    assert next(results) == 0
    assert len(taken) <= 4
    del results
    assert len(taken) <= 4


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_one_item_ends_the_others(threads: int) -> None:
    def refuse(item: int) -> int:
        if item == 5:
            raise ValueError("no fives")
        return item

    results = in_order(refuse, range(1000), threads)
    with pytest.raises(ValueError, match="no fives"):
        list(results)
