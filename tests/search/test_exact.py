"""Exact search in blocks against a sort of everything."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pipeline.search.vector_scan import Blocks, count_labelled, top_results


def database(count: int, dimensions: int = 6, levels: int | None = None) -> tuple[list[str], npt.NDArray[np.float32]]:
    generator = np.random.default_rng(5)
    vectors = generator.normal(size=(count, dimensions)) if levels is None else generator.integers(0, levels, (count, dimensions))
    return [f"i{index}" for index in range(count)], vectors.astype(np.float32)


def blocks_of(ids: list[str], vectors: npt.NDArray[np.float32], size: int) -> Blocks:
    def stream() -> Iterator[tuple[list[str], npt.NDArray[np.float32]]]:
        for first in range(0, len(ids), size):
            yield ids[first : first + size], vectors[first : first + size]

    return stream


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_top_results_are_those_of_a_full_sort(size: int, k: int) -> None:
    ids, vectors = database(50)
    queries = database(4)[1]
    results = top_results(torch.from_numpy(queries), blocks_of(ids, vectors, size), k)
    scores = queries @ vectors.T
    for row in range(4):
        order = np.argsort(-scores[row])[:k]
        assert results.image_ids[row] == [ids[index] for index in order]
        np.testing.assert_allclose(results.scores[row], scores[row][order], atol=1e-5)  # float32 products of unit-sized values
    assert results.size == 50


@pytest.mark.parametrize("size", [3, 64])
def test_counts_are_exact_with_ties(size: int) -> None:
    ids, vectors = database(60, levels=2)
    queries = database(5, levels=2)[1] + 1
    labelled = [["i3", "i4", "i59"], [], ["i0"], ["i7", "nowhere"], ids[:20]]
    counts = count_labelled(torch.from_numpy(queries), blocks_of(ids, vectors, size), labelled)
    scores = queries @ vectors.T
    assert sorted(counts.pairs) == sorted((query, image) for query, images in enumerate(labelled) for image in images if image != "nowhere")
    for (query, image), score, above, equal in zip(counts.pairs, counts.scores, counts.above, counts.equal, strict=True):
        own = scores[query, int(image[1:])]
        assert score == own
        assert above == (scores[query] > own).sum()
        assert equal == (scores[query] == own).sum()


@pytest.mark.parametrize("size", [7, 300])
def test_equal_scores_keep_the_order_of_the_database(size: int) -> None:
    ids = [f"i{index}" for index in range(300)]
    vectors = np.ones((300, 2), np.float32)
    vectors[100] = 2
    results = top_results(torch.ones(1, 2), blocks_of(ids, vectors, size), 5)
    assert results.image_ids == [["i100", "i0", "i1", "i2", "i3"]]


def test_nothing_labelled_gives_no_counts() -> None:
    ids, vectors = database(10)
    counts = count_labelled(torch.from_numpy(vectors[:2]), blocks_of(ids, vectors, 4), [[], ["nowhere"]])
    assert counts.pairs == []
    assert len(counts.above) == 0
