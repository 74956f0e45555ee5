"""One pass against a pass for each question: the same results and counts, to the last bit of each comparison."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.search import label_counts
from pipeline.search.distances import scoring
from pipeline.search.one_pass import search_and_count
from pipeline.search.vector_scan import Score, count_labelled, dot, top_results
from tests.search.test_exact import blocks_of


def assert_same(queries: torch.Tensor, rows: np.ndarray, size: int, labelled: list[list[str]], k: int, score: Score = dot, first: int = 0) -> None:
    """Against `top_results` and `count_labelled` by one thread, whatever the number of threads; `first`: rows that hold all labelled images,
    where that is said."""
    ids = [f"i{index}" for index in range(len(rows))]
    blocks = blocks_of(ids, rows, size)
    with torch_threads(1):
        expected, counted = top_results(queries, blocks, k, score), count_labelled(queries, blocks, labelled, score)
    for threads in (1, 3):
        with torch_threads(threads):
            found, counts = search_and_count(queries, blocks, labelled, k, score, blocks_of(ids[:first], rows[:first], size) if first else None)
        assert found == expected
        assert counts.pairs == counted.pairs
        np.testing.assert_array_equal(counts.scores, counted.scores)
        np.testing.assert_array_equal(counts.above, counted.above)
        np.testing.assert_array_equal(counts.equal, counted.equal)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@settings(deadline=None, database=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 90), st.integers(1, 60), st.integers(1, 40), st.sampled_from([None, 2, 3]))
def test_any_database_gives_the_same(seed: int, images: int, size: int, k: int, levels: int | None) -> None:
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(images, 5)) if levels is None else draw.integers(0, levels, (images, 5))
    queries = draw.normal(size=(4, 5)) if levels is None else draw.integers(0, levels, (4, 5))
    names = [f"i{place}" for place in draw.permutation(images + 2)]
    labelled = [names[:9], [], names[3:4], names[-6:]]
    assert_same(torch.from_numpy(queries.astype(np.float32)), rows.astype(np.float32), size, labelled, k)


def test_near_neighbours_are_told_apart() -> None:
    """Scores that differ in their last bits, on both sides of labelled ones, and equal ones."""
    draw = np.random.default_rng(0)
    rows = np.repeat(draw.normal(size=(1, 64)), 400, axis=0).astype(np.float32)
    rows[::3] *= np.float32(1 + 2**-22)
    rows[1::7] += draw.normal(size=rows[1::7].shape).astype(np.float32) * 1e-7
    queries = torch.from_numpy(draw.normal(size=(3, 64)).astype(np.float32))
    assert_same(queries, rows, 37, [[f"i{place}" for place in range(0, 400, 11)], ["i399"], ["i0", "i1", "i2"]], 50)


@pytest.mark.parametrize("distance", ["l2", "squared_l2", "l1"])
def test_other_distances_give_the_same(distance: str) -> None:
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(300, 8)).astype(np.float32)
    assert_same(torch.from_numpy(rows[:5]), rows, 64, [[f"i{place}", "i250"] for place in range(5)], 20, scoring(distance))  # type: ignore[arg-type]


def test_labelled_images_may_be_looked_for_in_the_first_blocks_alone() -> None:
    draw = np.random.default_rng(2)
    rows = draw.normal(size=(500, 16)).astype(np.float32)
    assert_same(torch.from_numpy(rows[:3]), rows, 50, [["i3", "i99"], ["i1"], []], 10, first=100)


def test_too_many_near_scores_and_a_labelled_image_off_its_margin_are_counted_in_passes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.ones((2000, 4), np.float32)
    monkeypatch.setattr(label_counts, "MOST_NEAR", 100)
    assert_same(torch.ones(2, 4), rows, 128, [["i5"], ["i0", "i1999"]], 7)
    monkeypatch.setattr(label_counts, "MARGIN", 0.0)
    draw = np.random.default_rng(3)
    rows = draw.normal(size=(3000, 256)).astype(np.float32)
    assert_same(torch.from_numpy(rows[:8]), rows, 1000, [[f"i{place}" for place in range(query, 3000, 97)] for query in range(8)], 30)
