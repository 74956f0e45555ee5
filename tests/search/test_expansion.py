"""Query expansion, database-side augmentation, k-reciprocal neighbours and diffusion against their printed forms."""

import numpy as np
import pytest
import torch

from pipeline.search.diffusion import diffusion_scores, mutual_graph
from pipeline.search.expansion import augment_database, expand_queries
from pipeline.search.k_reciprocal import k_reciprocal_scores
from pipeline.search.params import Weights
from tests.search.reference_reranking import plain_diffusion, plain_k_reciprocal


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
    monkeypatch.setattr("pipeline.search.expansion.ROWS_AT_ONCE", 7)
    torch.testing.assert_close(augment_database(vectors, 4), expected)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_images_than_neighbours(count: int) -> None:
    vectors = unit(count, 4)
    assert augment_database(vectors, 10).shape == (count, 4)
    for found in (diffusion_scores(unit(4), vectors), k_reciprocal_scores(unit(4), vectors)):
        assert found.shape == (count,)
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("seed", range(3))
def test_k_reciprocal_distances_are_those_of_the_loops(seed: int) -> None:
    query, vectors = unit(6, seed=seed), unit(40, 6, seed=seed + 10)
    expected = plain_k_reciprocal(query.double().numpy(), vectors.double().numpy(), 8, 3, 0.3)
    np.testing.assert_allclose(-k_reciprocal_scores(query, vectors, 8, 3, 0.3).numpy(), expected, atol=1e-4)


def test_mutual_graph_keeps_what_both_sides_choose() -> None:
    vectors = unit(20, 5)
    graph = mutual_graph(vectors, 4, 2.0)
    assert torch.equal(graph, graph.T)
    assert not graph.diagonal().any()
    assert int((graph > 0).sum(dim=1).max()) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_diffusion_solves_the_papers_system(seed: int) -> None:
    query, vectors = unit(4, seed=seed), unit(60, 4, seed=seed + 10)
    exact = plain_diffusion(query.double().numpy(), vectors.double().numpy(), 6, 3, 0.9, 3.0)
    found = diffusion_scores(query, vectors, 6, 3, 0.9, 3.0, iterations=200).double().numpy()
    reached = exact > 1e-5 * exact.max()
    np.testing.assert_allclose(found[reached], 1 + exact[reached] / exact.max(), atol=1e-4)
    assert (found[exact <= 0] <= 1).all()


def test_diffusion_follows_a_manifold_that_cosines_leave() -> None:
    vectors, own = arc_and_cloud(30)
    plain, found = vectors @ vectors[0], diffusion_scores(vectors[0], vectors, 4, 4, iterations=100)
    assert own[found.topk(30).indices].all()
    assert int(own[plain.topk(30).indices].sum()) < 20
