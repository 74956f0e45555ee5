"""Hamming search against full sorts and bit counts."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from pipeline.contracts.codes import Codes
from pipeline.search.code_scan import count_labelled_codes, nearest_codes
from pipeline.search.distances import hamming_distances
from pipeline.search.indexes import build_index

GENERATOR = np.random.default_rng(0)
DATABASE = GENERATOR.integers(0, 256, (97, 2), np.uint8)
QUERIES = GENERATOR.integers(0, 256, (5, 2), np.uint8)
IDS = [f"i{index}" for index in range(97)]


def blocks(length: int = 20) -> Iterator[tuple[list[str], Codes]]:
    return ((IDS[first : first + length], DATABASE[first : first + length]) for first in range(0, 97, length))


def plain(query: Codes, code: Codes) -> int:
    return sum(bin(int(a) ^ int(b)).count("1") for a, b in zip(query, code, strict=True))


def test_distances_count_different_bits() -> None:
    expected = [[plain(query, code) for code in DATABASE] for query in QUERIES]
    np.testing.assert_array_equal(hamming_distances(QUERIES, DATABASE), expected)
    with pytest.raises(ValueError, match="16 and of 24 bits"):
        hamming_distances(QUERIES, np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize("k", [1, 13, 97, 200])
def test_the_first_results_are_those_of_a_stable_sort(k: int) -> None:
    found = nearest_codes(QUERIES, blocks, k)
    assert found.size == 97
    for query, ids, scores in zip(QUERIES, found.image_ids, found.scores, strict=True):
        distances = np.array([plain(query, code) for code in DATABASE])
        order = np.argsort(distances, kind="stable")[:k]
        assert ids == [IDS[place] for place in order]
        assert scores == (-distances[order]).tolist()


def test_counts_above_and_beside_are_exact_whatever_the_blocks() -> None:
    labelled = [["i3", "i50"], ["i96"], [], ["missing"], ["i0", "i1", "i2"]]
    for length in (97, 20, 1):
        counts = count_labelled_codes(QUERIES, partial(blocks, length), labelled)
        found = {pair: values for pair, *values in zip(counts.pairs, counts.scores, counts.above, counts.equal, strict=True)}
        assert set(found) == {(0, "i3"), (0, "i50"), (1, "i96"), (4, "i0"), (4, "i1"), (4, "i2")}
        for (query, image_id), (score, above, equal) in found.items():
            distances = [plain(QUERIES[query], code) for code in DATABASE]
            own = distances[IDS.index(image_id)]
            assert (-score, above, equal) == (own, sum(d < own for d in distances), distances.count(own))


def test_an_index_gives_ties_in_the_order_of_the_database() -> None:
    codes = np.zeros((300, 2), np.uint8)
    codes[:7] = 255
    distances, found = build_index(codes).search(np.zeros((1, 2), np.uint8), 5)
    assert found.tolist() == [[7, 8, 9, 10, 11]]
    assert not distances.any()
