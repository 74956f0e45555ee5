"""Streamed moments, PCA and whitening against NumPy, and what happens with too few samples."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.projections.moments import Moments
from pipeline.projections.whitening import PCA, LearnedWhitening, PCAWhitening
from pipeline.stage.errors import ModelError, SanityError


def sample(count: int, dimensions: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=generator)
    return torch.randn(count, dimensions, generator=generator) @ mixing + 3


def test_streamed_moments_are_those_of_the_whole() -> None:
    vectors = sample(1000, 12)
    moments = Moments(12)
    for batch in vectors.split(7):
        moments.update(batch)
    moments.update(vectors[:0])
    np.testing.assert_allclose(moments.mean.numpy(), vectors.double().mean(0).numpy(), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance.numpy(), np.cov(vectors.double().numpy().T, bias=True), rtol=1e-10)


def test_moments_stay_exact_far_from_the_origin() -> None:
    vectors = sample(500, 5).double() + 1e6
    moments = Moments(5)
    for batch in vectors.split(50):
        moments.update(batch)
    np.testing.assert_allclose(moments.covariance.numpy(), np.cov(vectors.numpy().T, bias=True), rtol=1e-6)


def test_moments_refuse_what_is_not_finite() -> None:
    vectors = torch.ones(4, 3)
    vectors[2, 1] = float("nan")
    with pytest.raises(SanityError, match="not finite"):
        Moments(3).update(vectors)


def test_pca_keeps_the_leading_components() -> None:
    vectors = sample(400, 10)
    model = PCA(4).fit(vectors)
    eigenvalues, basis = np.linalg.eigh(np.cov(vectors.double().numpy().T, bias=True))
    expected = (vectors.double().numpy() - vectors.double().numpy().mean(0)) @ basis[:, ::-1][:, :4]
    transformed = model.transform(vectors).numpy()
    np.testing.assert_allclose(np.abs(transformed), np.abs(expected), atol=1e-3)
    np.testing.assert_allclose(model.eigenvalues_.numpy(), eigenvalues[::-1], rtol=1e-6)
    assert torch.allclose(model.components_ @ model.components_.T, torch.eye(4), atol=1e-5)


def test_whitened_training_vectors_have_unit_covariance() -> None:
    vectors = sample(2000, 8)
    white = PCAWhitening().fit(vectors).transform(vectors)
    np.testing.assert_allclose(np.cov(white.double().numpy().T, bias=True), np.eye(8), atol=1e-4)


def test_signs_do_not_depend_on_the_order_of_the_samples() -> None:
    vectors = sample(300, 6)
    one, other = PCA().fit(vectors), PCA().fit(vectors.flip(0))
    torch.testing.assert_close(one.components_, other.components_, atol=1e-4, rtol=1e-3)
    leading = one.components_.gather(1, one.components_.abs().argmax(dim=1, keepdim=True))
    assert (leading > 0).all()


def test_few_samples_keep_rank_minus_one_components() -> None:
    model = PCAWhitening().fit(sample(9, 20))
    assert model.components_.shape == (7, 20)
    assert torch.isfinite(model.components_).all()


def test_a_dimension_that_few_samples_do_not_bear_is_refused() -> None:
    with pytest.raises(ModelError, match="give only 7"):
        PCAWhitening(12).fit(sample(9, 20))
    assert PCAWhitening(20, shrinkage=0.1).fit(sample(9, 20)).components_.shape == (20, 20)


def test_no_variance_is_refused() -> None:
    with pytest.raises(ModelError, match="give only 0"):
        PCA().fit(torch.ones(50, 4))


def test_save_and_load(tmp_path: Path) -> None:
    model = PCAWhitening(3).fit(sample(100, 5))
    model.save(tmp_path / "model")
    loaded = PCAWhitening.load(tmp_path / "model")
    assert torch.equal(loaded.transform(sample(4, 5)), model.transform(sample(4, 5)))
    assert loaded.count_ == 100
    with pytest.raises(ModelError, match="expected PCA"):
        PCA.load(tmp_path / "model")


def labelled(count: int, dimensions: int, instances: int, seed: int = 0) -> tuple[torch.Tensor, list[str | None]]:
    """Vectors of instances that differ along the first two dimensions and vary more along the others."""
    generator = torch.Generator().manual_seed(seed)
    names = [index % instances for index in range(count)]
    centres = torch.zeros(instances, dimensions)
    centres[:, :2] = 8 * torch.randn(instances, 2, generator=generator)
    noise = torch.randn(count, dimensions, generator=generator) * torch.tensor([0.5, 0.5] + [12.0] * (dimensions - 2))
    return centres[names] + noise, [f"i{name}" for name in names]


def plain_pairs(vectors: torch.Tensor, instances: list[str | None], matching: bool) -> torch.Tensor:
    rows = vectors.double()
    pairs = [(i, j) for i in range(len(rows)) for j in range(i) if (instances[i] == instances[j]) == matching]
    return torch.stack([torch.outer(rows[i] - rows[j], rows[i] - rows[j]) for i, j in pairs]).mean(dim=0)


def test_learned_whitening_is_that_of_all_pairs() -> None:
    vectors, instances = labelled(40, 6, 8)
    model = LearnedWhitening().fit(vectors, instances)
    projected = model.transform(vectors)
    torch.testing.assert_close(plain_pairs(projected, instances, True), torch.eye(6).double(), rtol=0, atol=1e-4)
    between = plain_pairs(projected, instances, False)
    torch.testing.assert_close(between, torch.diag(model.eigenvalues_), rtol=0, atol=1e-3)
    assert (model.eigenvalues_.diff() <= 0).all()
    assert model.pairs_ == 8 * 10


def test_learned_whitening_tells_instances_apart_better_than_pca_whitening() -> None:
    vectors, instances = labelled(300, 12, 30)
    others, shown = labelled(300, 12, 30, seed=1)  # other instances

    def hits(found: torch.Tensor) -> float:
        unit = found / found.norm(dim=1, keepdim=True)
        likeness = (unit @ unit.T).fill_diagonal_(-2)
        return sum(shown[int(best)] == own for best, own in zip(likeness.argmax(dim=1), shown, strict=True)) / len(shown)

    assert hits(LearnedWhitening(4).fit(vectors, instances).transform(others)) > hits(PCAWhitening(4).fit(vectors).transform(others)) + 0.2


def test_learned_whitening_with_few_pairs_keeps_the_range_or_shrinks_or_refuses() -> None:
    vectors, instances = labelled(20, 30, 10)
    kept = LearnedWhitening().fit(vectors, instances)
    assert kept.components_.shape == (9, 30)
    assert torch.isfinite(kept.transform(vectors)).all()
    assert LearnedWhitening(12, shrinkage=0.3).fit(vectors, instances).components_.shape == (12, 30)
    with pytest.raises(ModelError, match="20 held-out images of 10 instances in 30 dimensions give only 9"):
        LearnedWhitening(12).fit(vectors, instances)
    many, five = labelled(25, 30, 5)
    assert len(LearnedWhitening().fit(many, five).components_) == 19


def test_copies_within_instances_are_not_taken_for_differences() -> None:
    centres = sample(8, 32)
    names = [f"i{index % 8}" for index in range(40)]
    copies = centres[torch.arange(40) % 8]
    with pytest.raises(ModelError, match="all alike"):
        LearnedWhitening().fit(copies, names)
    few = copies.clone()
    few[:, :3] += 0.01 * sample(40, 3, seed=1)
    model = LearnedWhitening().fit(few, names)
    assert len(model.components_) == 2
    assert float(model.components_.abs().max()) < 1e4


@pytest.mark.parametrize("instances", [[None] * 20, ["one"] * 20, [f"i{index}" for index in range(20)]])
def test_learned_whitening_needs_pairs_of_both_kinds(instances: list[str | None]) -> None:
    with pytest.raises(ModelError, match="several held-out images of several instances"):
        LearnedWhitening().fit(sample(20, 4), instances)


def test_save_and_load_of_a_learned_whitening(tmp_path: Path) -> None:
    vectors, instances = labelled(40, 6, 8)
    model = LearnedWhitening(3).fit(vectors, instances)
    model.save(tmp_path)
    loaded = LearnedWhitening.load(tmp_path)
    assert torch.equal(loaded.transform(vectors), model.transform(vectors))
    assert loaded.pairs_ == model.pairs_
