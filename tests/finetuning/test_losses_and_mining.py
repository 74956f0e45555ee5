"""Losses against the printed forms, triplets against loops."""

import pytest
import torch
from torch.nn import functional as F

from pipeline.finetuning.losses import triplet_loss, triplet_losses, window_cross_entropy
from pipeline.finetuning.mining import (
    DescriptorSimilarities,
    balanced,
    easiest_hardest_triplets,
    hardest_triplets,
    positive_pairs,
    semi_hard_triplets,
)

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 2, 0])


def descriptors(seed: int, count: int = len(LABELS), dimensions: int = 6) -> torch.Tensor:
    return F.normalize(torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.7])
def test_triplet_loss_is_both_printed_forms(margin: float) -> None:
    points = descriptors(0)
    triplets = semi_hard_triplets(points @ points.T, LABELS, 0)
    by_distance = by_product = 0.0
    for a, p, n in triplets.tolist():
        far, near = float(((points[a] - points[n]) ** 2).sum()), float(((points[a] - points[p]) ** 2).sum())
        by_distance += 0.5 * max(0.0, near - far + 2 * margin)
        by_product += max(0.0, float(points[a] @ points[n] - points[a] @ points[p]) + margin)
    assert by_product > 0
    assert float(triplet_loss(points, triplets, margin)) == pytest.approx(by_product, abs=1e-9)
    assert float(triplet_loss(points, triplets, margin)) == pytest.approx(by_distance, abs=1e-9)


def test_as_many_descriptors_as_dimensions_are_no_similarities() -> None:
    points = torch.eye(6, dtype=torch.float64)
    triplets = torch.tensor([[0, 1, 2], [3, 4, 5]])
    assert triplet_losses(points[[0, 0, 0, 1, 2, 1]], triplets, 0.5).tolist() == [0.5, 1.5]
    assert float(triplet_loss(points, triplets[:0])) == 0


def test_gradient_of_the_triplet_loss_is_the_numerical_one() -> None:
    raw = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    triplets = torch.tensor([[0, 1, 2], [1, 0, 3], [4, 4, 0]])
    assert torch.autograd.gradcheck(lambda values: triplet_loss(F.normalize(values, dim=1), triplets, 0.5), raw)


def test_window_cross_entropy_averages_over_windows() -> None:
    scores, labels = torch.randn(2, 4, 3, 2), torch.tensor([1, 3])
    expected = [-torch.stack([scores[b, :, y, x].log_softmax(0)[labels[b]] for y in range(3) for x in range(2)]).mean() for b in range(2)]
    assert torch.allclose(window_cross_entropy(scores, labels), torch.stack(expected), atol=1e-6)
    places = torch.tensor([[5, 0], [2, 3]])
    chosen = [-torch.stack([scores[b, :, p // 2, p % 2].log_softmax(0)[labels[b]] for p in places[b].tolist()]).mean() for b in range(2)]
    assert torch.allclose(window_cross_entropy(scores, labels, places), torch.stack(chosen), atol=1e-6)


def loop_pairs() -> list[tuple[int, int]]:
    return [(i, j) for i in range(len(LABELS)) for j in range(i, len(LABELS)) if LABELS[i] == LABELS[j]]


@pytest.mark.parametrize("seed", range(5))
def test_triplets_are_those_of_a_loop(seed: int) -> None:
    points = descriptors(seed)
    similarity = points @ points.T
    semi_hard, hardest = semi_hard_triplets(similarity, LABELS, seed).tolist(), hardest_triplets(similarity, LABELS).tolist()
    assert positive_pairs(LABELS).tolist() == [list(pair) for pair in loop_pairs()]
    assert [tuple(triplet[:2]) for triplet in semi_hard] == [tuple(triplet[:2]) for triplet in hardest] == loop_pairs()
    drawn = 0
    for (a, p), (*_, n), (*_, h) in zip(loop_pairs(), semi_hard, hardest, strict=True):
        negatives = [k for k in range(len(LABELS)) if LABELS[k] != LABELS[a]]
        assert h == max(negatives, key=lambda k: float(similarity[a, k]))
        below = [k for k in negatives if similarity[a, k] < similarity[a, p]]
        if below:
            assert n == max(below, key=lambda k: float(similarity[a, k]))
        else:
            assert n in negatives
            drawn += 1
    assert semi_hard == semi_hard_triplets(similarity, LABELS, seed).tolist()
    assert semi_hard_triplets(DescriptorSimilarities(points), LABELS, seed).tolist() == semi_hard


def test_where_no_negative_is_easier_one_is_drawn_by_the_seed() -> None:
    labels = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    similarity = torch.full((8, 8), 0.9)
    similarity[0, 1] = similarity[1, 0] = -1.0
    similarity.fill_diagonal_(1.0)
    drawn = {int(semi_hard_triplets(similarity, labels, seed)[1, 2]) for seed in range(40)}
    assert drawn <= set(range(2, 8))
    assert len(drawn) > 3


def test_one_label_gives_no_triplets() -> None:
    similarity = torch.eye(3)
    assert hardest_triplets(similarity, torch.zeros(3, dtype=torch.long)).shape == (0, 3)
    assert semi_hard_triplets(similarity, torch.zeros(3, dtype=torch.long), 0).shape == (0, 3)


@pytest.mark.parametrize(("positives", "negatives", "kept"), [(1, 1, 1), (2, 3, 4), (10, 20, 500)])
def test_easiest_positives_and_hardest_negatives_are_those_of_a_loop(positives: int, negatives: int, kept: int) -> None:
    labels = torch.cat([LABELS, torch.tensor([9])])
    points = descriptors(3, len(labels))
    similarity = points @ points.T
    expected = []
    for a in range(len(labels)):
        own = [k for k in range(len(labels)) if labels[k] == labels[a] and k != a] or [a]
        easy = sorted(own, key=lambda k: -float(similarity[a, k]))[:positives]
        hard = sorted((k for k in range(len(labels)) if labels[k] != labels[a]), key=lambda k: -float(similarity[a, k]))[:negatives]
        triplets = [(a, p, n) for p in easy for n in hard]
        expected += sorted(triplets, key=lambda t: -float(similarity[t[0], t[2]] - similarity[t[0], t[1]]))[:kept]
    assert easiest_hardest_triplets(similarity, labels, positives, negatives, kept).tolist() == [list(triplet) for triplet in expected]


def test_balanced_triplets_come_in_rounds_over_the_instances() -> None:
    instances = torch.tensor([4, 4, 4, 2, 4, 7, 2])
    triplets = torch.stack([torch.arange(7), torch.arange(7) + 10, torch.arange(7) + 20], dim=1)
    waiting = {instance: [place for place in range(7) if instances[place] == instance] for instance in (4, 2, 7)}
    expected = []
    while any(waiting.values()):
        heads = sorted(own.pop(0) for own in waiting.values() if own)
        expected += heads
    assert balanced(triplets, instances)[:, 0].tolist() == expected == [0, 3, 5, 1, 6, 2, 4]
    assert balanced(triplets[:0], instances[:0]).shape == (0, 3)
