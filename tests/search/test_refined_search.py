"""Refined search over stored descriptors: heads of rankings replaced, counts that agree with them, spatial verification of real photographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError

from pipeline.acquisition.gallery_pictures import HELD_OUT_PHOTOGRAPHS, pictures
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.feature_shards import FeatureFacts
from pipeline.contracts.images.image_shards import ImageFacts
from pipeline.contracts.results import Counts, Results
from pipeline.reranking.content import Content
from pipeline.reranking.expansion import augment_database, expand_queries
from pipeline.reranking.key_points import Sift
from pipeline.reranking.params import SpatialVerificationParameters
from pipeline.reranking.shortlists import Rescored, Shortlists, merge
from pipeline.reranking.spatial_verification import verify
from pipeline.search.params import SearchParameters, refuse_unsearchable
from pipeline.search.refined_search import RefinedSearch
from pipeline.search.refinement import Refinement, compared_again
from pipeline.search.vector_scan import count_labelled, top_results
from pipeline.stage.catalogue import GroundTruth
from pipeline.stage.errors import ParameterError, SanityError
from tests.reranking.reference import Floats, plain_diffusion, plain_k_reciprocal, plain_refined
from tests.search.test_patch_matching import blocks_of, folder_of, patches

SHOWN = {f"database{place}": f"piece{place // 3}" for place in range(18)}
IDS = [f"database{place}" for place in range(20)] + [f"distractors{place}" for place in range(10)]


FACTS = FeatureFacts(
    network=NetworkChoice(name="net"), extract=ExtractParameters(), images=ImageFacts(images=1, unreadable=0, source="folder", resize={})
)


def refined(folder: Path, **changes: Any) -> tuple[RefinedSearch, list[str], npt.NDArray[np.float32]]:
    """A search of 20 images, 10 distractors and 4 queries, its queries' ids, and all vectors: queries, database, distractors."""
    queries, references = patches(40, 4, 1)[:, 0], patches(41, 30, 1)[:, 0]
    own = folder_of(folder / "own", {"database": references[:20], "queries": queries})
    others = folder_of(folder / "others", {"distractors": references[20:]})
    content = Content((folder, folder), folder, folder, folder, FACTS, torch.device("cpu"))
    search = RefinedSearch(own, others, 30, SearchParameters.model_validate({"top_k": 12} | changes), torch.device("cpu"), content, SHOWN)
    asked, rows = search.queries(GroundTruth("instances", tuple(f"queries{place}" for place in range(4)), ()))
    np.testing.assert_array_equal(rows, queries)
    return search, asked, np.concatenate([queries, references])


def agree(results: Results, counts: Counts) -> None:
    """Counts say where the labelled images stand in the ranking."""
    for (query, image_id), score, above, equal in zip(counts.pairs, counts.scores, counts.above, counts.equal, strict=True):
        ids = results.image_ids[query]
        if image_id in ids:
            rank = ids.index(image_id)
            assert above <= rank < above + equal
            assert results.scores[query][rank] == pytest.approx(float(score), abs=1e-5)
        else:
            assert above + equal > len(ids)
    for own in results.scores:
        assert own == sorted(own, reverse=True)


@pytest.mark.parametrize("name", ["database", "with_distractors"])
def test_augmentation_and_expansion_in_their_order(tmp_path: Path, name: str) -> None:
    search, asked, vectors = refined(tmp_path, augmentation={"neighbours": 3}, expansion={"results": 4, "weights": "similarity", "rounds": 2})
    queries, references = torch.from_numpy(vectors[:4]), torch.from_numpy(vectors[4:24] if name == "database" else vectors[4:])
    augmented = augment_database(references, 3)
    own = queries
    for _ in range(2):
        first = (own @ augmented.T).topk(4, dim=1).indices
        own = expand_queries(own, augmented[first], "similarity", 3.0)
    scores = own @ augmented.T
    labelled = [IDS[:20], ["database3"], [], ["nowhere"]]
    results, counts = search.search(asked, vectors[:4], name, labelled)
    for query in range(4):
        assert results.image_ids[query] == [IDS[place] for place in scores[query].topk(12).indices]
    assert len(counts.pairs) == 21
    agree(results, counts)


@pytest.mark.parametrize("form", ["mean", "weighted"])
def test_images_of_an_instance_are_averaged_and_others_left_alone(tmp_path: Path, form: str) -> None:
    search, asked, vectors = refined(tmp_path, augmentation={"instances": form}, top_k=30)
    references = torch.from_numpy(vectors[4:])
    expected = references.clone()
    for first in range(0, 18, 3):
        own = references[first : first + 3]
        expected[first : first + 3] = augment_database(own, 2) if form == "weighted" else torch.nn.functional.normalize(own.mean(0), dim=0)
    scores = torch.from_numpy(vectors[:4]) @ expected.T
    results, counts = search.search(asked, vectors[:4], "with_distractors", [["database4"], ["database19"], [], ["distractors9"]])
    found = [dict(zip(ids, values, strict=True)) for ids, values in zip(results.image_ids, results.scores, strict=True)]
    for query in range(4):
        np.testing.assert_allclose([found[query][name] for name in IDS], scores[query].numpy(), atol=1e-5)
    agree(results, counts)


OWN: dict[str, dict[str, Any]] = {
    "k_reciprocal": {"nearest": 8, "local": 3},
    "diffusion": {"nearest": 5, "query_nearest": 3, "damping": 0.9, "iterations": 200},
    "refined_descriptors": {"neighbours": 4, "weight": 0.5, "best": 3},
}


@pytest.mark.parametrize(
    ("method", "expansion"), [("k_reciprocal", 0), ("k_reciprocal", 3), ("diffusion", 0), ("diffusion", 3), ("refined_descriptors", 0)]
)
@pytest.mark.parametrize("shortlist", [5, 15, 1000])
def test_reranked_heads_stand_before_the_rest(tmp_path: Path, method: str, expansion: int, shortlist: int) -> None:
    own = OWN[method] | ({"expansion": expansion} if expansion else {}) | {"shortlist": shortlist}
    search, asked, vectors = refined(tmp_path, rerank={"method": method, method: own})
    labelled = [IDS, IDS[::2], [], ["distractors2"]]
    results, counts = search.search(asked, vectors[:4], "with_distractors", labelled)
    order = (torch.from_numpy(vectors[:4]) @ torch.from_numpy(vectors[4:]).T).argsort(dim=1, descending=True)
    for query in range(4):
        first = [IDS[place] for place in order[query]]
        head = min(shortlist, 12)
        if shortlist <= 12:
            assert set(results.image_ids[query][:head]) == set(first[:head])
            assert results.image_ids[query][head:] == first[head:12]
        assert len(set(results.image_ids[query])) == 12
        head = vectors[4:][order[query, :shortlist]].astype(np.float64)
        again = expected_scores(method, vectors[query].astype(np.float64), head, expansion)
        best = np.argsort(-again, kind="stable")[: min(shortlist, 12)]
        assert results.image_ids[query][: len(best)] == [first[place] for place in best]
        np.testing.assert_allclose(results.scores[query][: len(best)], again[best], atol=1e-4)
    agree(results, counts)
    for query in (0,):
        places = {image_id: int(above) for (own, image_id), above in zip(counts.pairs, counts.above, strict=True) if own == query}
        assert sorted(places.values()) == list(range(30))


def test_a_batch_is_looked_at_again_as_far_as_the_shortest_list_reaches(tmp_path: Path) -> None:
    """An index that looks into few lists finds fewer candidates for some questions."""
    search, asked, vectors = refined(tmp_path, rerank={"method": "k_reciprocal", "k_reciprocal": OWN["k_reciprocal"] | {"shortlist": 15}})
    queries, rows, chosen = torch.from_numpy(vectors[:2]), torch.from_numpy(vectors[4:]), search.parameters.rerank.chosen
    assert chosen is not None

    def read(ids: Sequence[Sequence[str]], like: torch.Tensor) -> torch.Tensor:
        return torch.stack([rows[[IDS.index(name) for name in own]] for own in ids]).to(like)

    refinement = Refinement(search.parameters, search.reranker, lambda own, k: top_of(own, rows, k), read)
    whole = refinement.first(queries, 12)
    lengths = (9, 4)
    ids = [own[:length] for own, length in zip(whole.image_ids, lengths, strict=True)]
    scores = [own[:length] for own, length in zip(whole.scores, lengths, strict=True)]
    ragged = Results(ids, scores, whole.size)
    results, _ = refinement.reranked(asked[:2], queries, ragged, Counts.none(), 12)
    assert [sorted(ids) for ids in results.image_ids] == [sorted(ids) for ids in ragged.image_ids]
    assert Results.joined([ragged.of([place]) for place in (1, 0)], whole.size).image_ids == ragged.image_ids[::-1]


def top_of(queries: torch.Tensor, rows: torch.Tensor, k: int) -> Results:
    scores, places = (queries @ rows.T).topk(min(k, len(rows)))
    return Results([[IDS[place] for place in own] for own in places.tolist()], scores.tolist(), len(rows))


def expected_scores(method: str, query: Floats, head: Floats, expansion: int) -> Floats:
    """Of a shortlist (S, D), in the loops of the papers."""
    if method == "k_reciprocal":
        scores = -plain_k_reciprocal(query, head, 8, 3, 0.3)
    elif method == "refined_descriptors":
        scores = plain_refined(query, head, 4, 0.5, 3)
    else:
        shares = plain_diffusion(query, head, 5, 3, 0.9, 3.0)
        shares = shares / shares.max()
        cosines = head @ query
        scores = np.where(shares > 1e-6, 1 + cosines[shares.argmax()] * (1 + np.log10(np.maximum(shares, 1e-6)) / 6), cosines)
    if not expansion:
        return scores
    mean = query + head[np.argsort(-scores, kind="stable")[:expansion]].sum(axis=0)
    return np.asarray(head @ (mean / np.linalg.norm(mean)), np.float64)


def test_counts_see_ties_inside_the_head_and_behind_it() -> None:
    vectors = np.array([[1.0], [0.9], [0.9], [0.8], [0.8], [0.1]], np.float32)
    ids, query = list("abcdef"), torch.ones(1, 1)
    blocks = blocks_of(ids, vectors, 2)
    first, counts = top_results(query, blocks, 6), count_labelled(query, blocks, [ids])
    results, merged = merge(first, counts, 4, Rescored(np.array([[0.2, 0.7, 0.2, 0.5]], np.float32)), 6)
    assert results.image_ids == [["b", "d", "a", "c", "e", "f"]]
    found = {image_id: (int(above), int(equal)) for (_, image_id), above, equal in zip(merged.pairs, merged.above, merged.equal, strict=True)}
    assert found == {"a": (2, 2), "b": (0, 1), "c": (2, 2), "d": (1, 1), "e": (4, 1), "f": (5, 1)}
    agree(results, merged)


def test_scores_that_are_not_finite_are_refused() -> None:
    first = Results([["a", "b"]], [[0.5, 0.4]], 2)
    counts = Counts([], np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
    with pytest.raises(SanityError, match="not finite"):
        merge(first, counts, 2, Rescored(np.array([[0.1, np.nan]], np.float32)), 2)


def test_expansion_of_the_shortlist_means_the_first_boxes() -> None:
    vectors, queries = torch.from_numpy(patches(1, 2, 5)), torch.from_numpy(patches(2, 2, 1)[:, 0])
    scores = torch.einsum("qsd,qd->qs", vectors, queries).numpy()
    shortlists = Shortlists(["p", "q"], queries, [list("abcde")] * 2, scores, lambda: vectors)
    chosen = SearchParameters.model_validate({"rerank": {"method": "diffusion", "diffusion": {"expansion": 2}}}).rerank.chosen
    assert chosen is not None
    found = compared_again(chosen, shortlists, Rescored(scores))
    for query in range(2):
        best = np.argsort(-scores[query])[:2]
        mean = queries[query] + vectors[query, best.copy()].sum(dim=0)
        np.testing.assert_allclose(found.scores[query], (vectors[query] @ (mean / mean.norm())).numpy(), atol=1e-5)


def photograph(width: int, height: int, number: int) -> npt.NDArray[np.uint8]:
    """A photograph that a package ships, at a size."""
    found = list(pictures(HELD_OUT_PHOTOGRAPHS[: 1 + number // 4]).values())[number]
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def moved(pixels: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


@pytest.mark.parametrize("transformation", ["affine", "homography"])
def test_spatial_verification_finds_a_moved_photograph_and_no_other(transformation: str) -> None:
    parameters = SpatialVerificationParameters.model_validate({"transformation": transformation})
    pixels = photograph(240, 200, 0)
    scene = photograph(400, 300, 4)
    scene[80:240, 100:300] = moved(pixels, np.array([[0.8, 0.05, 0.0], [-0.05, 0.8, 0.0]]), 200, 160)
    sift = Sift(1000, 0.8)
    query = sift.key_points(pixels)
    found = verify(sift, query, sift.key_points(scene), parameters)
    assert found.inliers >= 20
    assert found.box is not None
    assert found.box[0] >= 90 / 400
    assert found.box[2] <= 310 / 400
    assert verify(sift, query, sift.key_points(scene), parameters) == found
    other = verify(sift, query, sift.key_points(photograph(400, 300, 8)), parameters)
    assert other.inliers < found.inliers / 2


def test_photographs_without_key_points_verify_nothing() -> None:
    parameters = SpatialVerificationParameters()
    sift = Sift(100, 0.8)
    flat, busy = sift.key_points(np.full((64, 64, 3), 90, np.uint8)), sift.key_points(photograph(240, 200, 0))
    assert len(flat.places) == 0
    for one, other in ((flat, busy), (busy, flat), (flat, flat)):
        assert verify(sift, one, other, parameters).inliers == 0


def test_key_points_stay_inside_the_box() -> None:
    inside = Sift(1000, 0.8).key_points(photograph(240, 200, 0), (60, 40, 180, 150))
    assert len(inside.places) > 5
    assert inside.places.min(axis=0).tolist() >= [59, 39]
    assert (inside.places.max(axis=0) <= [181, 151]).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rerank": {"method": "localisation"}}, "rerank.method"),
        ({"rerank": {"localization": {"steps": 3}}}, "steps"),
        ({"rerank": {"diffusion": {"damping": 1.0}}}, "damping"),
        ({"rerank": {"refined_descriptors": {"expansion": 3}}}, "expansion"),
        ({"rerank": {"diffusion": {"shortlist": 5, "expansion": 6}}}, "expansion 6 is more than the 5"),
        ({"expansion": {"results": -1}}, "results"),
        ({"rerank": {"k_reciprocal": {"local": 30}}}, "local 30 is more than nearest 20"),
        ({"rerank": {"spatial_verification": {"expansion": 2}}}, "expansion"),
        ({"rerank": {"localization": {"aspect": float("inf")}}}, "aspect"),
        ({"distance": "l1", "rerank": {"method": "diffusion"}}, "l1 does not go with rerank.method"),
    ],
)
def test_impossible_refinements_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SearchParameters.model_validate(changes)


@pytest.mark.parametrize(("patch_levels", "codes"), [(3, None), (0, "itq")])
def test_codes_and_patches_are_not_refined(patch_levels: int, codes: str | None) -> None:
    for changes, path in (
        ({"rerank": {"method": "diffusion"}}, "rerank.method"),
        ({"expansion": {"results": 2}}, "expansion.results"),
        ({"augmentation": {"neighbours": 2}}, "augmentation.neighbours"),
    ):
        with pytest.raises(ParameterError, match=f"search.{path}.*set it to (none|0)$"):
            refuse_unsearchable(SearchParameters.model_validate(changes), patch_levels, codes)


def test_only_the_method_in_use_is_told() -> None:
    told = SearchParameters.model_validate({"rerank": {"method": "diffusion"}}).in_use()
    assert set(told["rerank"]) == {"method", "diffusion"}
    assert set(SearchParameters().in_use()["rerank"]) == {"method", "none"}
