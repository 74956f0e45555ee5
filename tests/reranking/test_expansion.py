"""Query expansion, database-side augmentation, k-reciprocal neighbours, diffusion and refined descriptors against their printed forms."""

import numpy as np
import pytest
import torch

from pipeline.reranking.diffusion import diffusion_scores, mutual_graph
from pipeline.reranking.expansion import augment_database, expand_queries
from pipeline.reranking.k_reciprocal import k_reciprocal_scores
from pipeline.reranking.params import Weights
from pipeline.reranking.refined_descriptors import refined_scores
from tests.reranking.reference import plain_diffusion, plain_k_reciprocal, plain_refined


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    lengths: torch.Tensor = values.norm(dim=-1, keepdim=True)
    return values / lengths


def arc_and_cloud(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Half a circle, which starts at its first vector, and a cloud that is nearer to that start than most of the circle; which is which."""
    random = np.random.default_rng(0)
    angles = np.linspace(0, np.pi, count)
    arc = np.stack([np.cos(angles), np.sin(angles), np.zeros(count)], axis=1)
    cloud = np.array([0.6, 0.0, 0.8]) + 0.05 * random.normal(size=(count, 3))
    points = np.concatenate([arc, cloud])
    return torch.from_numpy(points / np.linalg.norm(points, axis=1, keepdims=True)).float(), torch.arange(2 * count) < count


@pytest.mark.parametrize("weights", ["uniform", "rank", "similarity"])
def test_expanded_queries_are_weighted_means(weights: Weights) -> None:
    queries, neighbours = unit(4, 6), unit(4, 3, 6, seed=1)
    found = expand_queries(queries, neighbours, weights, alpha=2.0).numpy()
    for index in range(4):
        total = queries[index].double().numpy()
        for place in range(3):
            own = neighbours[index, place].double().numpy()
            weight = {"uniform": 1.0, "rank": (3 - place) / 4, "similarity": max(float(queries[index].double().numpy() @ own), 0) ** 2}[weights]
            total = total + weight * own
        np.testing.assert_allclose(found[index], total / np.linalg.norm(total), atol=1e-6)


def test_augmentation_leaves_an_image_out_by_its_index_not_by_its_score() -> None:
    vectors = unit(5, 4)
    vectors[3] = vectors[1]
    found = augment_database(vectors, 1, "uniform")
    torch.testing.assert_close(found[1], vectors[1])
    torch.testing.assert_close(found[3], vectors[3])
    likeness = (vectors @ vectors.T).fill_diagonal_(-2)
    total = vectors[0] + vectors[likeness[0].argmax()]
    torch.testing.assert_close(found[0], total / total.norm())


def test_augmentation_in_tiles_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(50, 8)
    expected = augment_database(vectors, 4)
    monkeypatch.setattr("pipeline.reranking.expansion.ROWS_AT_ONCE", 7)
    torch.testing.assert_close(augment_database(vectors, 4), expected)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_images_than_neighbours(count: int) -> None:
    vectors = unit(count, 4)
    assert augment_database(vectors, 10).shape == (count, 4)
    for found in (diffusion_scores(unit(4), vectors), k_reciprocal_scores(unit(4), vectors), refined_scores(unit(4), vectors)):
        assert found.shape == (count,)
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("seed", range(3))
def test_k_reciprocal_distances_are_those_of_the_loops(seed: int) -> None:
    query, vectors = unit(6, seed=seed), unit(40, 6, seed=seed + 10)
    expected = plain_k_reciprocal(query.double().numpy(), vectors.double().numpy(), 8, 3, 0.3)
    np.testing.assert_allclose(-k_reciprocal_scores(query, vectors, 8, 3, 0.3).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(("neighbours", "weight", "best"), [(9, 0.15, 10), (3, 0.8, 2), (60, 0.15, 61), (3, 0.5, 0)])
def test_refined_descriptors_are_those_of_the_loops(neighbours: int, weight: float, best: int) -> None:
    query, vectors = unit(8), unit(40, 8, seed=1)
    expected = plain_refined(query.double().numpy(), vectors.double().numpy(), neighbours, weight, best)
    np.testing.assert_allclose(refined_scores(query, vectors, neighbours, weight, best).numpy(), expected, atol=1e-5)


def test_refined_descriptors_bring_an_arc_together() -> None:
    vectors, own = arc_and_cloud(40)
    plain, refined = (scores.argsort(descending=True) for scores in (vectors[1:] @ vectors[0], refined_scores(vectors[0], vectors[1:], 5, 1.0)))
    before, after = (own[1:][order[:20]].sum() for order in (plain, refined))
    assert after >= before


def test_copies_beyond_the_neighbourhood_score_alike() -> None:
    for seed in range(10):
        vectors = unit(100, 16, seed=seed)
        vectors[20:50] = vectors[20]
        for query in (vectors[20], unit(16, seed=seed + 50)):
            found = k_reciprocal_scores(query, vectors, 10, 4)
            assert torch.isfinite(found).all()
            assert torch.isfinite(diffusion_scores(query, vectors, 10, 5)).all()


def test_what_is_zero_stays_zero() -> None:
    vectors = unit(12, 4)
    vectors[3:6] = 0
    found = augment_database(vectors, 4, "uniform")
    assert not found[3:6].any()
    torch.testing.assert_close(found.norm(dim=1)[[0, 1, 2, 6]], torch.ones(4))
    assert not expand_queries(torch.zeros(1, 4), vectors[None, :3]).any()


def test_mutual_graph_keeps_what_both_sides_choose() -> None:
    vectors = unit(20, 5)
    cosines = (vectors @ vectors.T).double().numpy()
    near = [set([int(other) for other in np.argsort(-cosines[node]) if other != node][:4]) for node in range(20)]
    expected = np.array([[max(cosines[i, j], 0) ** 2 if j in near[i] and i in near[j] else 0 for j in range(20)] for i in range(20)])
    assert (expected > 0).sum() > 20
    np.testing.assert_allclose(mutual_graph(vectors, 4, 2.0).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_diffusion_solves_the_papers_system(seed: int) -> None:
    query, vectors = unit(4, seed=seed), unit(60, 4, seed=seed + 10)
    exact = plain_diffusion(query.double().numpy(), vectors.double().numpy(), 6, 3, 0.9, 3.0)
    found = diffusion_scores(query, vectors, 6, 3, 0.9, 3.0, iterations=200).double().numpy()
    reached, best = exact > 1e-5 * exact.max(), float(query @ vectors[exact.argmax()])
    np.testing.assert_allclose(found[reached], 1 + best * (1 + np.log10(exact[reached] / exact.max()) / 6), atol=1e-4)


def test_diffusion_scores_a_query_that_resembles_nothing_lower() -> None:
    """Both queries lie in one direction of the images; the second lies mostly outside of what they span."""
    vectors = torch.nn.functional.pad(unit(20, 4), (0, 1))
    near, far = (torch.nn.functional.normalize(vectors[0] + torch.tensor([0, 0, 0, 0, apart]), dim=0) for apart in (0.1, 3.0))
    scores = [diffusion_scores(query, vectors, 6, 3) for query in (near, far)]
    assert scores[0].argmax() == scores[1].argmax()
    assert float(scores[0].max()) == pytest.approx(1 + float(near @ vectors[scores[0].argmax()]), abs=1e-6)
    assert float(scores[1].max()) < float(scores[0].max()) - 0.3


def test_what_diffusion_does_not_reach_keeps_its_order_behind() -> None:
    here = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1, 0], [1, 0.2, 0], [1, 0.3, 0]]), dim=1)
    there = torch.nn.functional.normalize(torch.tensor([[0.5, 0, 1.0], [0.4, 0, 1], [0.6, 0, 1]]), dim=1)
    found = diffusion_scores(torch.tensor([1.0, 0, 0]), torch.cat([there, here]), 2, 2, iterations=100)
    assert (found[3:] > 1).all()
    torch.testing.assert_close(found[:3].float(), there[:, 0])


def test_diffusion_follows_a_manifold_that_cosines_leave() -> None:
    vectors, own = arc_and_cloud(30)
    plain, found = vectors @ vectors[0], diffusion_scores(vectors[0], vectors, 4, 4, iterations=100)
    assert own[found.topk(30).indices].all()
    assert int(own[plain.topk(30).indices].sum()) < 20
