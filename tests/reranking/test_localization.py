"""Localization: planted boxes are found, small maps agree with exhaustive search, degenerate maps give boxes."""

import numpy as np
import pytest
import torch

from pipeline.reranking.localization import approximate_maximum, candidate_boxes, localize
from tests.devices import DEVICES
from tests.reranking.reference import plain_localization

CHANNELS = 128


def unit(vector: torch.Tensor) -> torch.Tensor:
    length: torch.Tensor = vector.norm().clamp(min=1e-12)
    return vector / length


def sparse(generator: torch.Generator, height: int, width: int, share: float) -> torch.Tensor:
    """(CHANNELS, height, width) of activations as after ReLU."""
    values = torch.rand(CHANNELS, height, width, generator=generator)
    return values * (torch.rand(CHANNELS, height, width, generator=generator) < share)


def planted(seed: int) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int, int, int]]:
    """A query map, a cluttered map that shows it somewhere with some noise, and where."""
    generator = torch.Generator().manual_seed(seed)
    random = np.random.default_rng(seed)
    height, width = int(random.integers(6, 14)), int(random.integers(6, 16))
    query = sparse(generator, height, width, 0.04) * (torch.rand(CHANNELS, 1, 1, generator=generator) < 0.5)
    scene = sparse(generator, 24, 32, 0.02)
    y, x = int(random.integers(0, 24 - height + 1)), int(random.integers(0, 32 - width + 1))
    scene[:, y : y + height, x : x + width] = query * (0.9 + 0.2 * torch.rand(query.shape, generator=generator))
    return query, scene, (y, x, y + height, x + width)


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Intersection over union."""
    rows, columns = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared = max(rows, 0) * max(columns, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


@pytest.mark.slow
def test_planted_boxes_are_found() -> None:
    hits = 0
    for seed in range(200):
        query, scene, truth = planted(seed)
        aspect = torch.tensor([query.shape[2] / query.shape[1]])
        (found,), _ = localize(scene, unit(query.amax(dim=(1, 2)))[None], aspect)
        hits += overlap(tuple(found.tolist()), truth) > 0.7
    assert hits >= 190, hits


def test_with_every_box_tried_it_is_exhaustive_search() -> None:
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        scene = sparse(generator, 5, 6, 0.3)
        query = unit(sparse(generator, 3, 3, 0.3).amax(dim=(1, 2)))
        best, place = plain_localization(scene.double().numpy(), query.double().numpy(), 1.0, 1.1)
        found, cosine = localize(scene, query[None], torch.ones(1), exponent=15, step=1, refinement=0)
        assert float(cosine) == pytest.approx(best, abs=0.02)
        y0, x0, y1, x1 = found[0].tolist()
        true = unit(scene[:, y0:y1, x0:x1].amax(dim=(1, 2))) @ query
        assert float(true) >= best - 0.02, (place, found)


def test_defaults_come_near_the_best_box_of_all() -> None:
    near = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        scene, query = sparse(generator, 9, 11, 0.03), sparse(generator, 4, 6, 0.1)
        scene[:, 3:7, 2:8] = query
        pooled = unit(query.amax(dim=(1, 2)))
        best, _ = plain_localization(scene.double().numpy(), pooled.double().numpy(), 1.5, 1.1)
        (found,), _ = localize(scene, pooled[None], torch.tensor([1.5]), step=1)
        y0, x0, y1, x1 = found.tolist()
        near += float(unit(scene[:, y0:y1, x0:x1].amax(dim=(1, 2))) @ pooled) >= best - 0.02
    assert near >= 19


def test_refinement_never_lowers_the_cosine_and_stays_inside() -> None:
    generator = torch.Generator().manual_seed(1)
    scene = sparse(generator, 17, 23, 0.05)
    queries = torch.stack([unit(sparse(generator, 4, 4, 0.2).amax(dim=(1, 2))) for _ in range(6)])
    aspects = torch.tensor([0.5, 0.8, 1.0, 1.3, 2.0, 9.0])
    _, rough = localize(scene, queries, aspects, refinement=0)
    boxes, fine = localize(scene, queries, aspects)
    assert (fine >= rough - 1e-6).all()
    assert (boxes[:, 0] >= 0).all()
    assert (boxes[:, 1] >= 0).all()
    assert (boxes[:, 0] < boxes[:, 2]).all()
    assert (boxes[:, 1] < boxes[:, 3]).all()
    assert int(boxes[:, 2].max()) <= 17
    assert int(boxes[:, 3].max()) <= 23


@pytest.mark.parametrize("device", DEVICES)
def test_several_queries_at_once_are_each_alone(device: str) -> None:
    generator = torch.Generator().manual_seed(2)
    scene = sparse(generator, 12, 15, 0.1).to(device)
    queries = torch.stack([unit(sparse(generator, 4, 4, 0.2).amax(dim=(1, 2))) for _ in range(5)]).to(device)
    aspects = torch.tensor([0.5, 0.8, 1.0, 1.3, 2.0]).to(device)
    boxes, _ = localize(scene, queries, aspects)
    for index in range(5):
        alone, _ = localize(scene, queries[index : index + 1], aspects[index : index + 1])
        assert torch.equal(alone[0], boxes[index])


def test_approximate_maxima_lose_nothing_of_weak_channels() -> None:
    scene = torch.zeros(2, 6, 6)
    scene[0] = 1000.0
    scene[1, 1, 1], scene[1, 4, 4] = 1e-3, 5e-4
    pooled = approximate_maximum(scene, 10)(torch.tensor([[3, 3, 6, 6]]))
    assert float(pooled[0, 1] / pooled[0, 0]) == pytest.approx(5e-7 / 9 ** (1 / 10), rel=0.01)


def test_what_a_box_does_not_hold_stays_zero() -> None:
    scene = sparse(torch.Generator().manual_seed(4), 24, 32, 0.02)
    boxes = candidate_boxes(24, 32, 4)
    for exponent in (1, 10, 15):
        pooled = approximate_maximum(scene, exponent)(boxes)
        true = torch.stack([scene[:, y0:y1, x0:x1].amax(dim=(1, 2)) for y0, x0, y1, x1 in boxes.tolist()])
        assert not pooled[true == 0].any()
    cosines = (pooled * true).sum(dim=1) / true.norm(dim=1).clamp(min=1e-9)
    assert float(cosines[true.any(dim=1)].min()) > 0.97


def test_candidates_are_all_boxes_of_the_grid() -> None:
    boxes = candidate_boxes(7, 4, 3)
    rows, columns = [0, 3, 6, 7], [0, 3, 4]
    expected = {(y0, x0, y1, x1) for y0 in rows for y1 in rows if y0 < y1 for x0 in columns for x1 in columns if x0 < x1}
    assert {tuple(box) for box in boxes.tolist()} == expected
    assert len(boxes) == len(expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3)])
def test_small_and_dead_maps(shape: tuple[int, int]) -> None:
    for scene in (torch.zeros(4, *shape), torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))):
        boxes, cosines = localize(scene, torch.full((2, 4), 0.5), torch.tensor([1.0, 7.0]))
        assert torch.isfinite(cosines).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
