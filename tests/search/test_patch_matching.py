"""Patch distances against the loops of equations 3 and 4; the search in one step and in two."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError

from pipeline.search import patch_matching, patch_scan
from pipeline.search.params import Distance, SearchParameters
from pipeline.search.patch_matching import patch_distances
from pipeline.search.patch_scan import NOT_COMPARED, PatchBlocks, scan_patches, scan_shortlist, whole_image
from pipeline.search.searches import ranked
from tests.patches.reference import plain_distances

DISTANCES: list[Distance] = ["l2", "squared_l2", "l1", "dot"]
Floats = npt.NDArray[np.float32]


def patches(seed: int, images: int, count: int, dimensions: int = 16, *, unit: bool = True) -> Floats:
    values = np.random.default_rng(seed).normal(size=(images, count, dimensions)).astype(np.float32)
    return values / np.linalg.norm(values, axis=2, keepdims=True) if unit else values


def blocks_of(ids: list[str], rows: Floats, size: int) -> PatchBlocks:
    def stream() -> Iterator[tuple[list[str], Floats]]:
        for first in range(0, len(ids), size):
            yield ids[first : first + size], rows[first : first + size]

    return stream


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("tile", [1, 40, 2**18])
@pytest.mark.parametrize("unit", [True, False])
def test_distances_are_those_of_the_equations(monkeypatch: pytest.MonkeyPatch, distance: Distance, tile: int, unit: bool) -> None:
    queries, references = patches(0, 5, 4, unit=unit), patches(1, 13, 9, unit=unit)
    monkeypatch.setitem(patch_matching.PRODUCTS_AT_ONCE, "cpu", tile)
    monkeypatch.setitem(patch_matching.QUERY_ROWS_AT_ONCE, "cpu", 8)
    found = patch_distances(torch.from_numpy(queries), torch.from_numpy(references), distance)
    expected = plain_distances(queries, references, distance)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4, rtol=1e-6)
    np.testing.assert_array_equal(np.argsort(found.numpy(), axis=1), np.argsort(expected, axis=1))


@pytest.mark.parametrize("distance", ["l2", "squared_l2", "l1"])
def test_an_image_and_near_copies_are_at_their_true_distance(distance: Distance) -> None:
    references = patches(2, 6, 30, 512)
    queries = references[:, :14].copy()
    queries[1] += 1e-4 * patches(3, 1, 14, 512)[0]
    queries[2] += 2e-2 * patches(4, 1, 14, 512)[0]
    found = patch_distances(torch.from_numpy(queries), torch.from_numpy(references), distance).numpy()
    np.testing.assert_allclose(found, plain_distances(queries, references, distance), atol=1e-4)
    assert found[0, 0] == 0
    assert found[5, 5] == 0


def test_empty_patches_are_far_from_others_and_at_no_distance_from_each_other() -> None:
    queries, references = np.zeros((1, 2, 8), np.float32), patches(5, 2, 3, 8)
    references[1] = 0
    found = patch_distances(torch.from_numpy(queries), torch.from_numpy(references))
    np.testing.assert_allclose(found.numpy(), [[2.0, 0.0]], atol=1e-6)


def test_nothing_to_compare_and_patches_of_other_lengths() -> None:
    assert patch_distances(torch.zeros(2, 3, 4), torch.zeros(0, 5, 4)).shape == (2, 0)
    assert patch_distances(torch.zeros(0, 3, 4), torch.zeros(2, 5, 4)).shape == (0, 2)
    with pytest.raises(ValueError, match="4 and of 6 dimensions"):
        patch_distances(torch.zeros(2, 3, 4), torch.zeros(2, 5, 6))


@pytest.mark.parametrize("size", [7, 100])
@pytest.mark.parametrize("distance", DISTANCES)
def test_the_search_ranks_and_counts_as_a_sort_of_all_distances(distance: Distance, size: int) -> None:
    queries, references = patches(6, 4, 5), patches(7, 40, 6)
    ids = [f"i{index}" for index in range(40)]
    labelled = [["i3", "i4", "nowhere"], [], ["i0"], ids[:20]]
    names, scores = scan_patches(torch.from_numpy(queries), blocks_of(ids, references, size), distance)
    results, counts = ranked(names, scores, 10, labelled)
    expected = -plain_distances(queries, references, distance)
    for row, (found, own) in enumerate(results.rows()):
        order = np.argsort(-expected[row])[:10]
        assert found == [ids[index] for index in order]
        np.testing.assert_allclose(own, expected[row][order], atol=1e-4)
    assert sorted(counts.pairs) == sorted((query, image) for query, images in enumerate(labelled) for image in images if image != "nowhere")
    for (query, image), above, equal in zip(counts.pairs, counts.above, counts.equal, strict=True):
        assert above == (expected[query] > expected[query, int(image[1:])]).sum()
        assert equal == 1


@pytest.mark.parametrize("index", ["flat", "inverted"])
@pytest.mark.parametrize("candidates", ["whole_image", "sum"])
@pytest.mark.parametrize(("size", "held"), [(300, 2**26), (5000, 2**26), (100, 2000)])
def test_two_steps_compare_the_patches_of_the_nearest_whole_images_alone(
    index: str, candidates: str, size: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_scan, "VALUES_AT_ONCE", held)
    queries, references = patches(8, 3, 5), patches(9, 1200, 6)
    ids = [f"i{place}" for place in range(1200)]
    parameters = SearchParameters.model_validate(
        {"top_k": 20, "shortlist": 50, "candidates": candidates, "index": index, "probes": 1200 if index == "inverted" else 16}
    )
    names, scores = scan_shortlist(torch.from_numpy(queries), blocks_of(ids, references, size), parameters)
    whole = [rows[:, 0] if candidates == "whole_image" else rows.sum(axis=1) for rows in (queries, references)]
    whole = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in whole]
    expected = -plain_distances(queries, references, "l2")
    for row in range(3):
        shortlist = set(np.argsort(-(whole[0] @ whole[1].T)[row])[:50].tolist())
        compared = set(np.flatnonzero(scores[row].numpy() != NOT_COMPARED).tolist())
        assert compared == shortlist
        np.testing.assert_allclose(scores[row, sorted(shortlist)], expected[row][sorted(shortlist)], atol=1e-4)
    results, counts = ranked(names, scores, 20, [ids[:100]] * 3)
    for row, (found, own) in enumerate(results.rows()):
        assert len(found) == 20
        assert own == sorted(own, reverse=True)
        assert sum(query == row for query, _ in counts.pairs) == int((scores[row, :100] != NOT_COMPARED).sum())


def test_a_shortlist_of_everything_loses_nothing() -> None:
    queries, references = patches(10, 3, 5), patches(11, 30, 6)
    ids = [f"i{place}" for place in range(30)]
    blocks = blocks_of(ids, references, 7)
    parameters = SearchParameters(top_k=5, shortlist=1000)
    np.testing.assert_allclose(
        scan_shortlist(torch.from_numpy(queries), blocks, parameters)[1], scan_patches(torch.from_numpy(queries), blocks, "l2")[1], atol=1e-5
    )


def test_few_lists_looked_at_leave_the_rest_of_the_shortlist_out() -> None:
    queries, references = patches(12, 2, 5), patches(13, 2000, 2)
    ids = [f"i{place}" for place in range(2000)]
    parameters = SearchParameters(top_k=10, shortlist=500, index="inverted", probes=1)
    names, scores = scan_shortlist(torch.from_numpy(queries), blocks_of(ids, references, 900), parameters)
    compared = (scores != NOT_COMPARED).sum(dim=1)
    assert (compared < 500).all()
    assert (compared > 0).all()
    results, _ = ranked(names, scores, 10, [[], []])
    assert all(len(found) == min(10, int(count)) for (found, _), count in zip(results.rows(), compared, strict=True))


def test_whole_images_of_patches() -> None:
    rows = patches(14, 3, 4)
    rows[2] = 0
    np.testing.assert_allclose(whole_image(rows, "whole_image"), rows[:, 0], atol=1e-6)
    summed = rows.sum(axis=1)
    np.testing.assert_allclose(whole_image(rows, "sum")[:2], summed[:2] / np.linalg.norm(summed[:2], axis=1, keepdims=True), atol=1e-6)
    assert not whole_image(rows, "sum")[2].any()


def test_a_shortlist_shorter_than_the_results_is_refused() -> None:
    with pytest.raises(ValidationError, match="more than the 5 images of the shortlist"):
        SearchParameters(top_k=10, shortlist=5)
