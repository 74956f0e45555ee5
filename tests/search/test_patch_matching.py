"""Patch distances against the loops of equations 3 and 4; the search in one step and in two."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError

from pipeline.contracts.descriptors import DISTRACTORS, KIND, descriptor_columns, descriptor_writer
from pipeline.contracts.features.feature_parameters import ExtractParameters, PatchLayout
from pipeline.contracts.results import Counts, Results
from pipeline.patches.geometry import patches_of
from pipeline.search import patch_matching, patch_scan, plain_search
from pipeline.search.params import Distance, SearchParameters
from pipeline.search.patch_boxes import PatchBoxes
from pipeline.search.patch_matching import patch_distances
from pipeline.search.patch_scan import PatchBlocks, scan_patches, scan_shortlist
from pipeline.search.plain_search import DescriptorSearch, PatchSearch, ranked, ranked_shortlist
from pipeline.search.whole_images import whole_image
from pipeline.stage.catalogue import GroundTruth
from pipeline.stage.errors import ModelError
from pipeline.stage.manifest import Manifest, describe_parts
from tests.devices import DEVICES
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
@pytest.mark.parametrize("device", DEVICES)
def test_distances_are_those_of_the_equations(monkeypatch: pytest.MonkeyPatch, distance: Distance, tile: int, unit: bool, device: str) -> None:
    queries, references = patches(0, 5, 4, unit=unit), patches(1, 13, 9, unit=unit)
    monkeypatch.setitem(patch_matching.PRODUCTS_AT_ONCE, device, tile)
    monkeypatch.setitem(patch_matching.QUERY_ROWS_AT_ONCE, device, 8)
    found = patch_distances(torch.from_numpy(queries).to(device), torch.from_numpy(references).to(device), distance).cpu().numpy()
    expected = plain_distances(queries, references, distance)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-6)
    np.testing.assert_array_equal(np.argsort(found, axis=1), np.argsort(expected, axis=1))


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


@pytest.mark.parametrize("distance", DISTANCES)
def test_equal_references_stay_equal_wherever_they_stand(distance: Distance) -> None:
    references = np.repeat(patches(20, 1, 6), 137, axis=0)
    references[40] = patches(21, 1, 6)
    found = patch_distances(torch.from_numpy(patches(22, 3, 14)), torch.from_numpy(references), distance).numpy()
    assert all(len(set(np.delete(row, 40).tolist())) == 1 for row in found)


@pytest.mark.parametrize("size", [7, 100])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("columns", [9, 4096])
def test_the_search_ranks_and_counts_as_a_sort_of_all_distances(distance: Distance, size: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_search, "COLUMNS_AT_ONCE", columns)
    queries, references = patches(6, 4, 5), patches(7, 40, 6)
    ids = [f"i{index}" for index in range(40)]
    labelled = [["i3", "i4", "nowhere"], [], ["i0"], ids[:20]]
    names, scores = scan_patches(torch.from_numpy(queries), blocks_of(ids, references, size), distance)
    results, counts = ranked(names, scores, 10, labelled)
    expected = -plain_distances(queries, references, distance)
    check(results, counts, expected, ids, labelled, 10)


def check(results: Results, counts: Counts, expected: npt.NDArray[Any], ids: list[str], labelled: list[list[str]], k: int) -> None:
    """Results and counts against all scores (Q, N); −∞ for images that were not compared."""
    for row, (found, own) in enumerate(zip(results.image_ids, results.scores, strict=True)):
        order = [place for place in np.argsort(-expected[row], kind="stable")[:k] if expected[row, place] > -np.inf]
        assert found == [ids[place] for place in order]
        np.testing.assert_allclose(own, expected[row][order], atol=1e-4)
    wanted = [(query, image) for query, images in enumerate(labelled) for image in images if image in ids]
    assert sorted(counts.pairs) == sorted((query, image) for query, image in wanted if expected[query, ids.index(image)] > -np.inf)
    for (query, image), score, above, equal in zip(counts.pairs, counts.scores, counts.above, counts.equal, strict=True):
        own = expected[query, ids.index(image)]
        assert score == pytest.approx(own, abs=1e-4)
        assert above == (expected[query] > own).sum()
        assert equal == 1


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("shortlist", [None, 12])
@pytest.mark.parametrize("device", DEVICES)
def test_stored_patches_are_searched_by_the_distance_and_levels_of_the_parameters(
    tmp_path: Path, distance: Distance, levels: int, shortlist: int | None, device: str
) -> None:
    queries, references = patches(30, 4, 5, unit=distance != "dot"), patches(31, 40, 14, unit=distance != "dot")
    own, others = (
        folder_of(tmp_path / "own", {"database": references[:30], "queries": queries}),
        folder_of(tmp_path / "others", {"distractors": references[30:]}),
    )
    parameters = SearchParameters(top_k=10, distance=distance, query_levels=levels, shortlist=shortlist, candidates="whole_image")
    search = PatchSearch(own, others, 40, parameters, torch.device(device))
    ids = [f"database{place}" for place in range(30)] + [f"distractors{place}" for place in range(10)]
    asked, rows = search.queries(GroundTruth("instances", tuple(f"queries{place}" for place in range(4)), ()))
    assert asked == [f"queries{place}" for place in range(4)]
    seen = queries[:, : 1 if levels == 1 else 5]
    expected = -plain_distances(seen, references, distance)
    if shortlist:
        unit = [rows[:, 0] / np.linalg.norm(rows[:, 0], axis=1, keepdims=True) for rows in (queries, references)]
        order = np.argsort(-(unit[0] @ unit[1].T), axis=1)
        np.put_along_axis(expected, order[:, shortlist:], -np.inf, axis=1)
    labelled = [ids[::3], ["distractors2"], [], ["database1", "nowhere"]]
    check(*search.search(asked, rows, "with_distractors", labelled), expected, ids, labelled, 10)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("shortlist", [None, 12])
def test_results_have_the_box_of_the_patch_that_is_nearest_to_the_whole_query(tmp_path: Path, distance: Distance, shortlist: int | None) -> None:
    queries, references = patches(30, 4, 5), patches(31, 40, 14)
    own, others = (
        folder_of(tmp_path / "own", {"database": references[:30], "queries": queries}),
        folder_of(tmp_path / "others", {"distractors": references[30:]}),
    )
    parameters = SearchParameters(top_k=10, distance=distance, query_levels=2, shortlist=shortlist)
    search = PatchSearch(own, others, 40, parameters, torch.device("cpu"))
    ids = [f"database{place}" for place in range(30)] + [f"distractors{place}" for place in range(10)]
    sizes = {name: (100.0 + place, 80.0) for place, name in enumerate(ids[:30])}
    asked = [f"queries{place}" for place in range(4)]
    plain, _ = search.search(asked, queries, "with_distractors", [[]] * 4)
    assert plain.boxes is None
    layouts: tuple[PatchLayout, ...] = ("squares", "grid")
    for layout in layouts:
        search.boxes = PatchBoxes(ExtractParameters(patch_levels=3, patch_layout=layout), sizes)
        found = search.located(queries, "with_distractors", plain)
        assert (found.image_ids, found.scores) == (plain.image_ids, plain.scores)
        assert found.boxes is not None
        for query, names, boxes in zip(queries, found.image_ids, found.boxes, strict=True):
            for name, box in zip(names, boxes, strict=True):
                reference = references[ids.index(name)]
                nearest = int(np.argmin([plain_distances(query[None, :1], patch[None, None], distance)[0, 0] for patch in reference]))
                width, height = sizes.get(name, (1.0, 1.0))
                expected = patches_of(layout, width, height, 3)[nearest, 1:].numpy() / (width, height, width, height)
                if layout == "squares" and name not in sizes:
                    assert box is None
                else:
                    assert box == pytest.approx(tuple(expected))


@pytest.mark.parametrize("distance", DISTANCES)
def test_stored_descriptors_are_searched_by_the_distance_of_the_parameters(tmp_path: Path, distance: Distance) -> None:
    queries, references = patches(40, 4, 1, unit=False)[:, 0], patches(41, 30, 1, unit=False)[:, 0]
    own = folder_of(tmp_path / "own", {"database": references, "queries": queries})
    search = DescriptorSearch(own, tmp_path / "none", 30, SearchParameters(top_k=10, distance=distance), torch.device("cpu"))
    asked, rows = search.queries(GroundTruth("instances", tuple(f"queries{place}" for place in range(4)), ()))
    ids = [f"database{place}" for place in range(30)]
    labelled = [ids[:7], [], ["database3"], ids]
    check(*search.search(asked, rows, "database", labelled), -plain_distances(queries[:, None], references[:, None], distance), ids, labelled, 10)


def folder_of(folder: Path, sets: dict[str, npt.NDArray[Any]]) -> Path:
    """Descriptor shards of sets by prefix, ids being the prefix and a number."""
    folder.mkdir()
    names = [f"{prefix}-00000.parquet" for prefix in sets]
    for name, (prefix, rows) in zip(names, sets.items(), strict=True):
        several = rows.shape[1] if rows.ndim == 3 else None
        with descriptor_writer(folder / name, rows.shape[-1], several) as writer:
            writer.write(descriptor_columns([f"{prefix}{place}" for place in range(len(rows))], rows))
    Manifest(DISTRACTORS if "distractors" in sets else KIND, describe_parts(folder, names)).save(folder)
    return folder


@pytest.mark.slow
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
    shortlist = scan_shortlist(
        torch.from_numpy(queries), blocks_of(ids, references, size), parameters, 1200, whole_image(patches(19, 400, 2), candidates)
    )
    whole = [rows[:, 0] if candidates == "whole_image" else rows.sum(axis=1) for rows in (queries, references)]
    whole = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in whole]
    expected = -plain_distances(queries, references, "l2")
    np.put_along_axis(expected, np.argsort(-(whole[0] @ whole[1].T), axis=1)[:, 50:], -np.inf, axis=1)
    check(*ranked_shortlist(shortlist, 20, [ids[:100]] * 3), expected, ids, [ids[:100]] * 3, 20)


def test_a_shortlist_of_everything_loses_nothing() -> None:
    queries, references = patches(10, 3, 5), patches(11, 30, 6)
    ids = [f"i{place}" for place in range(30)]
    shortlist = scan_shortlist(torch.from_numpy(queries), blocks_of(ids, references, 7), SearchParameters(top_k=5, shortlist=1000), 30)
    check(*ranked_shortlist(shortlist, 5, [ids] * 3), -plain_distances(queries, references, "l2"), ids, [ids] * 3, 5)


def test_few_lists_looked_at_leave_the_rest_of_the_shortlist_out() -> None:
    queries, references = patches(12, 2, 5), patches(13, 2000, 2)
    ids = [f"i{place}" for place in range(2000)]
    parameters = SearchParameters(top_k=10, shortlist=500, index="inverted", probes=1)
    shortlist = scan_shortlist(torch.from_numpy(queries), blocks_of(ids, references, 900), parameters, 2000, whole_image(patches(19, 400, 2), "sum"))
    compared = (shortlist.places >= 0).sum(axis=1)
    assert (compared < 500).all()
    assert (compared > 0).all()
    assert ((shortlist.scores == -np.inf) == (shortlist.places < 0)).all()
    results, _ = ranked_shortlist(shortlist, 10, [[], []])
    assert [len(found) for found in results.image_ids] == [min(10, int(count)) for count in compared]


def test_lists_are_learned_on_held_out_images_alone(tmp_path: Path) -> None:
    references = patches(13, 1000, 2)
    own = folder_of(tmp_path / "own", {"database": references, "queries": references[:2], "whole_held_out": patches(19, 100, 2)})
    parameters = SearchParameters(top_k=10, shortlist=100, index="inverted", probes=2)
    search = PatchSearch(own, tmp_path / "none", 1000, parameters, torch.device("cpu"))
    results, _ = search.search(["queries0", "queries1"], references[:2], "database", [[], []])
    assert [ids[0] for ids in results.image_ids] == ["database0", "database1"]
    few = folder_of(tmp_path / "few", {"database": references, "queries": references[:2], "whole_held_out": patches(19, 77, 2)})
    with pytest.raises(ModelError, match="inverted lists are learned on held-out images, and there are 77 of at least 78"):
        PatchSearch(few, few, 1000, parameters, torch.device("cpu")).search(["queries0"], references[:1], "database", [[]])


def test_an_empty_database_has_no_results() -> None:
    empty = scan_shortlist(torch.from_numpy(patches(1, 2, 3)), lambda: iter(()), SearchParameters(top_k=5, shortlist=5), 0)
    assert ranked_shortlist(empty, 5, [["a"], []])[0].image_ids == [[], []]
    names, scores = scan_patches(torch.from_numpy(patches(1, 2, 3)), lambda: iter(()), "l2")
    assert ranked(names, scores, 5, [["a"], []])[0].image_ids == [[], []]


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
