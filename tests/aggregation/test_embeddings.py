"""Embeddings, aggregations and post-processing against loops in float64, and what is refused."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.aggregation.democratic import AGGREGATIONS, aggregate, democratic_weights, generalized_max_weights
from pipeline.aggregation.embeddings import (
    EMBEDDINGS,
    VLAD,
    FisherVector,
    FunctionApproximationEmbedding,
    TriangulationEmbedding,
    WhitenedEmbedding,
)
from pipeline.aggregation.post_processing import PostProcessing
from pipeline.projections.codebooks import GaussianMixture, gaussian_mixture, kmeans
from pipeline.projections.normalization import l2
from pipeline.stage.errors import ModelError, SanityError
from tests.aggregation import reference
from tests.devices import DEVICES


def local_features(count: int = 400, dimensions: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(6, dimensions, generator=generator)
    return l2(centres[torch.randint(6, (count,), generator=generator)] + torch.randn(count, dimensions, generator=generator))


def mixture(size: int, dimensions: int) -> GaussianMixture:
    generator = torch.Generator().manual_seed(8)
    weights = torch.rand(size, generator=generator) + 0.2
    variances = torch.rand(size, dimensions, generator=generator) / 4 + 0.05
    return GaussianMixture(weights / weights.sum(), torch.randn(size, dimensions, generator=generator) / 2, variances)


@pytest.mark.parametrize("device", DEVICES)
def test_fisher_vector(device: str) -> None:
    model = FisherVector(3).fit(local_features().to(device), codebook=mixture(3, 4))
    some = local_features(10, seed=1)
    book = [values.cpu().double().numpy() for values in (model.codebook_.weights, model.codebook_.means, model.codebook_.variances)]
    expected = [reference.fisher(x, *book) for x in some.double().numpy()]
    np.testing.assert_allclose(model.transform(some.to(device)).cpu().numpy(), expected, atol=1e-4)
    assert model.dimensions(4) == len(expected[0]) == 24


@pytest.mark.parametrize("device", DEVICES)
def test_vlad(device: str) -> None:
    model = VLAD(5).fit(local_features().to(device))
    some = local_features(10, seed=1)
    expected = [reference.vlad(x, model.codebook_.cpu().double().numpy()) for x in some.double().numpy()]
    np.testing.assert_allclose(model.transform(some.to(device)).cpu().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("kind", "plain", "floor"),
    [(TriangulationEmbedding, reference.triangulation, 3), (FunctionApproximationEmbedding, reference.function_approximation, 25)],
)
def test_whitened_embeddings(kind: type[WhitenedEmbedding], plain: Any, floor: int, device: str) -> None:
    features = local_features(600)
    model = kind(3).fit(features.to(device), floor=floor)
    codebook = model.codebook_.cpu().double().numpy()
    mean, matrix = reference.floored_whitening(np.array([plain(x, codebook) for x in features.double().numpy()]), floor)
    some = local_features(8, seed=1)
    expected = [matrix @ (plain(x, codebook) - mean) for x in some.double().numpy()]
    np.testing.assert_allclose(model.transform(some.to(device)).cpu().numpy(), expected, atol=1e-4 * np.abs(expected).max())
    summed = model.linear(model.raw(some.to(device)).sum(dim=0), 8.0)
    np.testing.assert_allclose(summed.cpu().numpy(), np.sum(expected, axis=0), atol=1e-3)


def test_coefficients_solve_the_constrained_problem() -> None:
    features, bases = local_features(20, seed=2), kmeans(local_features(), 5)
    gamma = FunctionApproximationEmbedding.coefficients(features, bases)
    expected = [reference.coefficients(x, bases.double().numpy()) for x in features.double().numpy()]
    np.testing.assert_allclose(gamma.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(gamma.sum(dim=1).numpy(), 1, atol=1e-5)


def test_function_approximation_keeps_the_bases_with_the_least_objective() -> None:
    features = local_features(500, 6)
    model = FunctionApproximationEmbedding(4, restarts=5, floor=80).fit(features)
    single = [FunctionApproximationEmbedding.objective(features, kmeans(features, 4, 1, seed)) for seed in range(5)]
    assert FunctionApproximationEmbedding.objective(features, model.codebook_) == min(single) < max(single)


def test_published_configurations_have_the_published_dimensions() -> None:
    sizes = {"fisher": (48, 44), "vlad": (64, 66), "triangulation": (64, 68), "function_approximation": (32, 10)}
    dropped = {"triangulation": 128, "function_approximation": 32 * 33}
    for name, (dimensions, size) in sizes.items():
        assert EMBEDDINGS[name](size).dimensions(dimensions) - dropped.get(name, 0) == 4224
    pairs = [(32, 20, 512), (64, 18, 1024), (64, 34, 2048), (64, 66, 4096), (128, 64, 8064)]
    assert all(TriangulationEmbedding(size).dimensions(d) - 128 == wanted for d, size, wanted in pairs)


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("device", DEVICES)
def test_aggregations(how: str, device: str) -> None:
    counts = [7, 1, 4]
    features = torch.randn(12, 9, generator=torch.Generator().manual_seed(4))
    expected = [reference.aggregate(part.double().numpy(), how) for part in features.split(counts)]
    np.testing.assert_allclose(aggregate(features.to(device), how, counts).cpu().numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(aggregate(features[:7], how).numpy(), expected[0], atol=1e-4)
    empty = aggregate(features, how, [0, 12])
    assert torch.isfinite(empty).all()
    assert not empty[0].any()


def test_democratic_weights_of_the_published_example() -> None:
    steps = [[43.5453 * math.sin(12.9898 * i + 78.233 * j + 37.719) for i in range(1, 6)] for j in range(1, 7)]
    columns = l2(torch.tensor([[2 * (value - math.floor(value)) - 1 for value in row] for row in steps], dtype=torch.float64))
    weights = democratic_weights(columns @ columns.T)
    np.testing.assert_allclose(weights.numpy(), [0.6184511, 0.6525825, 0.8732145, 0.6728851, 0.6491684, 0.6011042], atol=1e-6)
    np.testing.assert_allclose(weights.numpy(), reference.democratic(columns.numpy())[0], atol=1e-9)


def test_democratic_weights_equalise_contributions_and_generalised_max_the_similarities() -> None:
    features = l2(torch.rand(30, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    gram = features @ features.T
    weights = democratic_weights(gram, iterations=200)
    np.testing.assert_allclose((weights * (gram @ weights)).numpy(), 1, atol=1e-6)
    pooled = generalized_max_weights(gram, 1e-9) @ features
    np.testing.assert_allclose((features @ pooled).numpy(), 1, atol=1e-4)


def test_a_zero_feature_takes_no_part() -> None:
    features = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    with_zero = torch.cat([features, torch.zeros(1, 6)])
    assert torch.allclose(aggregate(with_zero, "democratic"), aggregate(features, "democratic"), atol=1e-6)


@pytest.mark.parametrize("order", ["rotate_first", "power_first"])
def test_post_processing(order: str) -> None:
    held_out, some = (l2(torch.randn(count, 8, generator=torch.Generator().manual_seed(count)) ** 3) for count in (60, 5))
    model = PostProcessing(2, 0.5, None, order).fit(held_out.split(7))
    expected = reference.post_process(some.double().numpy(), held_out.double().numpy(), 2, 0.5, order)
    np.testing.assert_allclose(model.transform(some).numpy(), expected, atol=1e-4)
    shorter = PostProcessing(2, 0.5, 3, order).fit(held_out.split(7)).transform(some)
    np.testing.assert_allclose(shorter.numpy(), [reference.unit(row[:3]) for row in expected], atol=1e-4)
    assert not model.transform(torch.zeros(2, 8)).any()


def test_missing_axes_of_the_rotation_are_completed_by_rule_or_refused() -> None:
    held_out = l2(torch.randn(5, 12, generator=torch.Generator().manual_seed(0)))
    rotation = PostProcessing(0, 1.0).fit([held_out]).rotation_
    assert rotation.learned_ == 4
    assert torch.allclose(rotation.components_ @ rotation.components_.T, torch.eye(12), atol=1e-5)
    some = l2(torch.randn(6, 12, generator=torch.Generator().manual_seed(1)))
    rotated = rotation.transform(some)
    assert torch.allclose(torch.cdist(rotated, rotated), torch.cdist(some, some), atol=1e-4)
    with pytest.raises(ModelError, match="5 held-out vectors of 12 dimensions give only 4"):
        PostProcessing(0, 1.0, complete=False).fit([held_out])
    with pytest.raises(ModelError, match="9 components are to be kept after dropping 4, but the aggregated vectors have 12"):
        PostProcessing(4, 1.0, 9).fit([held_out])


def test_codebooks_are_seeded_and_the_best_of_their_restarts() -> None:
    features = local_features(300, 5)

    def error(centroids: torch.Tensor) -> float:
        return float(torch.cdist(features, centroids).amin(dim=1).square().sum())

    assert torch.equal(kmeans(features, 8, 3, 7), kmeans(features, 8, 3, 7))
    assert error(kmeans(features, 8, 10, 0)) <= min(error(kmeans(features, 8, 1, seed)) for seed in range(3)) * 1.02
    book = gaussian_mixture(features, 4, 2, 0)
    assert torch.equal(book.means, gaussian_mixture(features, 4, 2, 0).means)
    assert float(book.weights.sum()) == pytest.approx(1, abs=1e-5)
    assert (book.variances > 0).all()


def test_a_constant_dimension_gets_a_variance_floor() -> None:
    features = local_features(200, 3)
    features[:, 1] = 0.25
    model = FisherVector(3, restarts=1).fit(features)
    assert (model.codebook_.variances > 1e-6).all()
    assert torch.isfinite(model.transform(features)).all()


def test_too_little_to_learn_from_is_refused() -> None:
    with pytest.raises(ModelError, match="codebook of 9 is wanted, but the held-out features have only 5 distinct"):
        kmeans(local_features(5).repeat(40, 1), 9)
    with pytest.raises(ModelError, match="whitening 24 embedded dimensions needs at least 24 held-out features, there are 20"):
        TriangulationEmbedding(6).fit(local_features(20), floor=2)
    repeated = local_features(12).repeat(5, 1)
    with pytest.raises(ModelError, match=r"leave more than the 2 smallest eigenvalues.*at zero"):
        TriangulationEmbedding(6).fit(repeated, floor=2)
    broken = local_features(100)
    broken[3, 1] = float("nan")
    with pytest.raises(SanityError, match="not finite"):
        TriangulationEmbedding(2).fit(broken, codebook=local_features(2), floor=1)
