"""Clusters by normalised cut: the papers' equations, planted structure, quality against scikit-learn, and degenerate input."""

import numpy as np
import pytest
import torch

from pipeline.aggregation import spectral
from pipeline.aggregation.clusters import cluster_max, cut_values, feature_similarity, gaussian_similarity, normalized_cut, spatial_similarity
from pipeline.aggregation.describers.activation_clusters import STARTS
from pipeline.aggregation.spectral import leading_eigenvectors
from tests.devices import DEVICES


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clouds(nodes: int, groups: int, seed: int) -> torch.Tensor:
    """(nodes, 4) points around `groups` centres."""
    centres = 3 * random(groups, 4, seed=seed)
    return centres[torch.arange(nodes) % groups] + random(nodes, 4, seed=seed + 100)


def spectral_clustering(similarity: torch.Tensor, count: int) -> torch.Tensor:
    """Labels of scikit-learn's spectral clustering, discretised as Yu and Shi do."""
    from sklearn.cluster import SpectralClustering

    model = SpectralClustering(count, affinity="precomputed", assign_labels="discretize", random_state=0)
    return torch.from_numpy(model.fit_predict(similarity.double().numpy()).astype(np.int64))


def same_partition(labels: torch.Tensor, truth: torch.Tensor) -> bool:
    pairs = set(zip(labels.tolist(), truth.tolist(), strict=True))
    return len(pairs) == len({label for label, _ in pairs}) == len({label for _, label in pairs})


def blocks(sizes: list[int], weak: float = 0.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A similarity matrix of blocks in shuffled order, and each node's block."""
    truth = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    truth = truth[torch.randperm(len(truth), generator=torch.Generator().manual_seed(seed))]
    return torch.where(truth[:, None] == truth[None], 1.0, weak), truth


def test_similarity_follows_equations_2_and_3() -> None:
    features, variances = random(2, 7, 3), torch.tensor([5.0, 2.0, 1.0])
    found = feature_similarity(features, variances, 0.4)
    for image in range(2):
        distances = np.zeros((7, 7))
        for i in range(7):
            for j in range(7):
                squares = [float(variances[k]) / 8 * float(features[image, i, k] - features[image, j, k]) ** 2 for k in range(3)]
                distances[i, j] = np.sqrt(sum(squares))
        expected = np.exp(-((distances / (0.4 * distances.max())) ** 2))
        np.testing.assert_allclose(found[image].numpy(), expected, rtol=1e-4, atol=1e-6)


def test_spatial_term_falls_with_distance_on_the_map() -> None:
    similarity = spatial_similarity(2, 3, 0.5)
    widest = np.hypot(1, 2)
    assert similarity.shape == (6, 6)
    assert float(similarity[0, 5]) == pytest.approx(np.exp(-4), rel=1e-4)
    assert float(similarity[0, 1]) == pytest.approx(np.exp(-((1 / (0.5 * widest)) ** 2)), rel=1e-4)


@pytest.mark.parametrize(("nodes", "count", "regularisation"), [(90, 8, 0.0), (500, 8, 0.5), (700, 20, 0.5), (700, 20, 0.0)])
def test_eigenvectors_are_those_of_the_normalised_matrix(nodes: int, count: int, regularisation: float) -> None:
    similarity = feature_similarity(torch.stack([clouds(nodes, 6, 1), random(nodes, 4, seed=2)]), None, 0.15)
    values, vectors = leading_eigenvectors(similarity, count, regularisation)
    roots = (similarity.double().sum(dim=2) + 2 * regularisation).rsqrt()
    normalised = roots[:, :, None] * (similarity.double() + regularisation * torch.eye(nodes)) * roots[:, None]
    exact = torch.linalg.eigvalsh(normalised).flip(1)[:, :count]
    gap = (count - exact.sum(dim=1)).clamp(min=1e-3)
    assert ((exact.sum(dim=1) - values.sum(dim=1)).abs() <= 0.01 * gap).all()
    assert (vectors.mT @ vectors - torch.eye(count)).abs().max() < 1e-3
    rayleigh = torch.einsum("bnk,bnm,bmk->bk", vectors.double(), normalised, vectors.double())
    torch.testing.assert_close(rayleigh.float(), values, rtol=0, atol=1e-4)


def test_a_spectrum_that_does_not_part_is_decomposed_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = torch.eye(700) + torch.eye(700).roll(1, 0) + torch.eye(700).roll(-1, 0)
    decomposed: list[int] = []
    dense = spectral._dense

    def counted(normalised: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        decomposed.append(len(normalised))
        return dense(normalised, count)

    monkeypatch.setattr(spectral, "_dense", counted)
    values, vectors = leading_eigenvectors(torch.stack([ring, blocks([300, 400])[0]]), 20, 0.0)
    assert decomposed == [1]
    exact = torch.linalg.eigvalsh(ring.double() / 3).flip(0)[:20]
    torch.testing.assert_close(values[0].double(), exact, rtol=0, atol=1e-5)
    torch.testing.assert_close(ring @ vectors[0] / 3, vectors[0] * values[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("sizes", [[3, 5], [40, 7, 23, 30], [50] * 20, [300, 2, 100, 98]])
def test_block_structure_is_recovered_exactly(sizes: list[int]) -> None:
    for weak in (0.0, 1e-3):
        similarity, truth = blocks(sizes, weak)
        (labels,) = normalized_cut(similarity, [len(sizes)])
        assert same_partition(labels, truth), (sizes, weak)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.05, 0.2])
@pytest.mark.parametrize("count", [2, 5, 20])
def test_cuts_are_not_worse_than_scikit_learns(count: int, scale: float) -> None:
    for seed, (nodes, groups) in enumerate([(150, 5), (300, 20), (432, 9), (576, 12)]):
        similarity = feature_similarity(clouds(nodes, groups, seed), None, scale)
        (own,) = normalized_cut(similarity, [count])
        theirs = spectral_clustering(similarity, count)
        cuts = [float(cut_values(similarity[None], labels[None], count)) for labels in (own, theirs)]
        assert cuts[0] <= 1.01 * cuts[1] + 1e-4, (nodes, cuts)


@pytest.mark.parametrize("count", [5, 20])
def test_regularised_cuts_as_the_describer_makes_them_are_on_average_not_worse(count: int) -> None:
    from bench.clusters import scenes

    cuts = []
    for features in scenes(4, 18, 24, 4, 0):
        similarity = feature_similarity(features, None, 0.05)
        (own,) = normalized_cut(similarity, [count], 0.5, STARTS)
        theirs = spectral_clustering(similarity, count)
        cuts.append([float(cut_values(similarity[None], labels[None], count, 0.5)) for labels in (own, theirs)])
    mean = np.mean(cuts, axis=0)
    assert mean[0] <= 1.01 * mean[1], cuts


def test_cut_value_is_the_share_of_similarity_that_leaves_each_cluster() -> None:
    similarity = torch.tensor([[1.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 1.0]])
    labels = torch.tensor([[0, 0, 1]])
    expected = 0.3 / 3.3 + 0.3 / 1.3
    assert float(cut_values(similarity[None], labels, 2)) == pytest.approx(expected, rel=1e-5)
    assert float(cut_values(similarity[None], labels, 3)) == pytest.approx(expected + 1, rel=1e-5)


def test_a_regularised_cut_is_that_of_the_regularised_matrix() -> None:
    similarity = feature_similarity(random(9, 3), None, 0.5)
    labels = (torch.arange(9) % 3)[None]
    inside, volume = np.zeros(3), np.zeros(3)
    for i in range(9):
        volume[i % 3] += float(similarity[i].sum()) + 2 * 0.5
        inside[i % 3] += sum(float(similarity[i, j]) for j in range(9) if j % 3 == i % 3) + 0.5
    assert float(cut_values(similarity[None], labels, 3, 0.5)) == pytest.approx(float((1 - inside / volume).sum()), rel=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_gives_what_each_image_gives(device: str) -> None:
    features = torch.stack([clouds(200, 6, seed) for seed in range(3)] + [torch.ones(200, 4)]).to(device)
    similarity = feature_similarity(features, None, 0.1)
    together = normalized_cut(similarity, [4, 9], 0.5)
    for image in range(4):
        for count, labels in zip((4, 9), normalized_cut(similarity[image], [4, 9], 0.5), strict=True):
            own = together[(4, 9).index(count)][image]
            cuts = [float(cut_values(similarity[image : image + 1], each[None], count)) for each in (own, labels)]
            assert cuts[0] == pytest.approx(cuts[1], rel=1e-3)


def test_the_same_input_gives_the_same_labels() -> None:
    similarity = feature_similarity(random(300, 4), None, 0.1)
    first, second = normalized_cut(similarity, [7]), normalized_cut(similarity.clone(), [7])
    assert torch.equal(first[0], second[0])


@pytest.mark.parametrize("regularisation", [0.0, 0.5])
class TestDegenerate:
    def test_identical_features_are_one_cluster(self, regularisation: float) -> None:
        for nodes in (12, 500):
            similarity = feature_similarity(torch.full((2, nodes, 4), 0.3), torch.ones(4), 0.05)
            assert torch.equal(similarity, torch.ones(2, nodes, nodes))
            for labels in normalized_cut(similarity, [5, 20], regularisation):
                assert (labels == labels[:, :1]).all()

    def test_fewer_distinct_features_than_clusters(self, regularisation: float) -> None:
        for nodes in (30, 600):
            values = random(3, 4, seed=5)
            which = torch.arange(nodes) % 3
            (labels,) = normalized_cut(feature_similarity(values[which], None, 0.05), [20], regularisation)
            assert same_partition(labels, which)

    def test_one_by_n_maps_and_fewer_locations_than_clusters(self, regularisation: float) -> None:
        for nodes in (1, 2, 7, 19):
            five, twenty = normalized_cut(feature_similarity(random(nodes, 4), None, 0.05), [5, 20], regularisation)
            assert five.shape == twenty.shape == (nodes,)
            assert len(five.unique()) == min(nodes, 5)
            assert len(twenty.unique()) == nodes

    def test_isolated_nodes(self, regularisation: float) -> None:
        points = torch.cat([clouds(300, 3, 0), 1000 * random(4, 4)])
        few, many = normalized_cut(feature_similarity(points, None, 0.05), [5, 20], regularisation)
        assert len(few.unique()) == 5
        assert len(many.unique()) > 5
        if not regularisation:
            assert few[300:].unique().numel() == 4, "each odd node by itself"
            assert few[:300].unique().numel() == 1


def test_regularisation_keeps_odd_nodes_from_taking_the_clusters() -> None:
    points = torch.cat([clouds(300, 2, 0), 40 * random(3, 4, seed=3)])
    similarity = gaussian_similarity(points - points.mean(dim=0), 0.02)
    sizes = [int(normalized_cut(similarity, [4], regularisation)[0].bincount(minlength=4).sort().values[-2]) for regularisation in (0.0, 0.5)]
    assert sizes[1] > sizes[0]


def test_no_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="start at 1"):
        normalized_cut(torch.eye(3), [0])


def test_cluster_max_takes_each_clusters_maximum() -> None:
    maps = random(2, 3, 2, 4)
    labels = torch.tensor([[0, 0, 2, 2, 0, 0, 2, 2], [1, 1, 1, 1, 1, 1, 1, 1]])
    found = cluster_max(maps, labels, 4)
    flat = maps.flatten(2)
    for image in range(2):
        for cluster in range(4):
            inside = labels[image] == cluster
            expected = flat[image][:, inside].amax(dim=1) if inside.any() else torch.zeros(3)
            torch.testing.assert_close(found[image, cluster], expected)
