"""Hash functions: objectives that never rise, fixed points, losses against a random rotation and faiss, codes as they are packed."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch

from pipeline.hashing.binary_autoencoder import RelaxedBinaryAutoencoder
from pipeline.hashing.hasher import Hasher, pack, signs, unpack
from pipeline.hashing.itq import ITQ
from pipeline.hashing.kmeans_hashing import KMeansHashing, balanced_allocation
from pipeline.hashing.params import HASH_METHODS
from pipeline.stage.errors import ModelError, ParameterError, SanityError

KINDS: list[type[Hasher]] = [ITQ, KMeansHashing, RelaxedBinaryAutoencoder]


def white(count: int = 600, dimensions: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def uneven(count: int = 600, dimensions: int = 32, seed: int = 0) -> torch.Tensor:
    """Vectors with a falling spectrum, off the origin."""
    return white(count, dimensions, seed) * torch.linspace(2, 0.2, dimensions) + 0.5


def loss(rotated: torch.Tensor) -> float:
    """Mean squared distance of rotated vectors to their signs."""
    return float((signs(rotated) - rotated).double().square().sum(dim=1).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_the_objective_never_rises(kind: type[Hasher], bits: int) -> None:
    model = kind(bits, seed=3).fit(uneven())
    objectives = np.array(model.objectives_)
    assert len(objectives) > 1
    assert (np.diff(objectives) <= 1e-9 * objectives[0]).all()
    assert objectives[-1] < objectives[0]


def test_itq_codes_are_a_fixed_point_of_its_update() -> None:
    vectors = uneven()
    model = ITQ(16, iterations=5000).fit(vectors)
    assert len(model.objectives_) < 5000
    rotated = model.project(vectors).double()
    left, _, right = torch.linalg.svd(signs(rotated).T @ rotated)
    assert torch.equal(signs(rotated @ (left @ right).T), signs(rotated))


def test_itq_is_the_plain_alternation() -> None:
    """NumPy, one step after the other, from the same start."""
    vectors = uneven(300, 12)
    projected = ITQ(8, iterations=1)._principal(vectors, 8).transform(vectors).double().numpy()
    rotation = np.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64).numpy())[0]
    losses = []
    for _ in range(20):
        codes = np.where(projected @ rotation >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(codes.T @ projected)
        rotation = right.T @ left.T
        losses.append(float(((np.where(projected @ rotation >= 0, 1.0, -1.0) - projected @ rotation) ** 2).sum()))
    found = ITQ(8, seed=5, iterations=20).fit(vectors).objectives_
    np.testing.assert_allclose(found, losses[: len(found)], rtol=1e-6)


@pytest.mark.slow
def test_itq_loses_less_than_a_random_rotation_and_than_faiss() -> None:
    vectors = white(5000, 256)
    model = ITQ(64).fit(vectors)
    principal = torch.from_numpy(np.linalg.svd((vectors - vectors.mean(dim=0)).numpy(), full_matrices=False)[2][:64]).T
    projected = (vectors - vectors.mean(dim=0)) @ principal
    chance = loss(projected @ torch.linalg.qr(white(64, 64, seed=9))[0])
    library: Any = faiss.ITQMatrix(64)
    library.train(projected.numpy())
    theirs = loss(torch.from_numpy(library.apply(projected.numpy())))
    ours = loss(model.project(vectors))
    assert ours == pytest.approx(27.9, abs=0.1)
    assert chance == pytest.approx(30.9, abs=0.3)
    assert ours < 0.95 * min(chance, theirs)


def test_itq_keeps_more_neighbours_than_a_random_rotation() -> None:
    centres = white(40, 64, seed=5)
    vectors = centres[torch.arange(2000) % 40] + 0.7 * white(2000, 64, seed=6)
    nearest = torch.cdist(vectors[:100], vectors).topk(10, largest=False).indices

    def recall(codes: torch.Tensor) -> float:
        found = (codes @ codes[:100].T).T.topk(100).indices
        return float((nearest[:, :, None] == found[:, None]).any(dim=2).float().mean())

    model = ITQ(32).fit(vectors)
    principal = model.projection_ @ torch.linalg.qr(white(32, 32, seed=1))[0]
    assert recall(signs(model.project(vectors))) > recall(signs((vectors - model.mean_) @ principal))


def test_kmeans_hashing_starts_at_pca_hashing_and_moves_towards_less_error() -> None:
    vectors = uneven(2000, 16)
    model = KMeansHashing(16, affinity=0.0, iterations=200).fit(vectors)
    parts = model._parts(vectors)
    error = sum(float(torch.cdist(part, centres).amin(dim=1).square().mean()) for part, centres in zip(parts, model.centres_, strict=True))
    assert error == pytest.approx(model.objectives_[-1], rel=0.02)
    assert error < 0.9 * float(vectors.var(dim=0).sum())


@pytest.mark.slow
def test_affinity_keeps_the_distances_of_centres_near_those_of_their_indices() -> None:
    vectors = white(2000, 16) ** 3

    def mismatch(model: KMeansHashing) -> float:
        _, wanted = model._start(model._parts(vectors))
        return float((torch.cdist(model.centres_, model.centres_) - wanted).abs().mean())

    assert mismatch(KMeansHashing(16, affinity=10.0).fit(vectors)) < 0.5 * mismatch(KMeansHashing(16, affinity=0.0).fit(vectors))


def test_eigenvalues_are_shared_out_by_equal_products() -> None:
    order = balanced_allocation(torch.tensor([16.0, 8.0, 4.0, 2.0, 1.0, 1.0], dtype=torch.float64), 2)
    assert sorted(order.flatten().tolist()) == list(range(6))
    assert order.shape == (2, 3)
    products = [float(np.prod([[16, 8, 4, 2, 1, 1][axis] for axis in part])) for part in order.tolist()]
    assert max(products) / min(products) <= 2


def test_the_autoencoder_rebuilds_from_its_codes() -> None:
    vectors = uneven(1000, 24)
    codes = signs(RelaxedBinaryAutoencoder(16).fit(vectors).bits_of(vectors).double() - 0.5)
    random = signs(white(1000, 16, seed=2)).double()

    def unexplained(book: torch.Tensor) -> float:
        design = torch.cat([book, torch.ones(len(book), 1, dtype=book.dtype)], dim=1)
        fitted = design @ torch.linalg.lstsq(design, vectors.double()).solution
        return float((vectors - fitted).square().sum() / (vectors - vectors.mean(dim=0)).square().sum())

    assert unexplained(codes) < 0.75 * unexplained(random)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_the_same_for_the_same_seed_and_after_loading(kind: type[Hasher], tmp_path: Path) -> None:
    vectors = uneven()
    model = kind(24, seed=4).fit(vectors)
    codes = model.encode(vectors)
    assert codes.shape == (600, 3)
    assert codes.dtype == torch.uint8
    assert torch.equal(codes, kind(24, seed=4).fit(vectors).encode(vectors))
    assert torch.equal(codes, torch.cat([model.encode(vectors[:300]), model.encode(vectors[300:])]))
    model.save(tmp_path, learned_on={"dataset": "photos"})
    loaded = kind.load(tmp_path)
    assert torch.equal(codes, loaded.encode(vectors))
    assert loaded.objectives_ == model.objectives_
    other = ITQ if kind is not ITQ else KMeansHashing
    with pytest.raises(ModelError, match="expected"):
        other.load(tmp_path)


def test_bits_are_packed_with_the_lowest_first() -> None:
    bits = torch.rand(20, 40, generator=torch.Generator().manual_seed(0)) > 0.5
    np.testing.assert_array_equal(pack(bits).numpy(), np.packbits(bits.numpy(), axis=1, bitorder="little"))
    assert torch.equal(unpack(pack(bits)), bits)


@pytest.mark.parametrize("kind", KINDS)
def test_impossible_codes_are_refused(kind: type[Hasher]) -> None:
    with pytest.raises(ParameterError, match="12 is no positive multiple of 8"):
        kind(12)
    with pytest.raises(ModelError, match="40 bits are wanted of 32 dimensions"):
        kind(40).fit(uneven())
    with pytest.raises(ModelError, match="1 held-out descriptors are too few"):
        kind(8).fit(uneven(1))
    with pytest.raises(ModelError, match="use more held-out images"):
        kind(8).fit(torch.ones(50, 16))
    broken = uneven()
    broken[3, 3] = float("nan")
    with pytest.raises(SanityError, match="not finite"):
        kind(8).fit(broken)


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_held_out_images_than_bits_complete_the_basis(kind: type[Hasher]) -> None:
    model = kind(32).fit(uneven(10))
    assert model.learned_axes_ == 9
    assert model.axes_ == 32
    codes = model.encode(uneven(200, seed=8))
    assert len(torch.unique(codes, dim=0)) > 150


def test_subspaces_must_divide_the_bits() -> None:
    with pytest.raises(ParameterError, match="16 is no multiple of subspace_bits 3"):
        KMeansHashing(16, subspace_bits=3)
    with pytest.raises(ValueError, match="bits must be a multiple of 8"):
        HASH_METHODS["itq"].model_validate({"bits": 100})
    with pytest.raises(ValueError, match="no multiple of subspace_bits 7"):
        HASH_METHODS["kmeans_hashing"].model_validate({"bits": 64, "subspace_bits": 7})
