"""Linear adaptation against plain loops of its equations, with gradients and Adam written out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.projections.adaptation import LinearAdaptation, Training, batches, first_weights
from pipeline.projections.normalization import l2
from pipeline.stage.errors import ModelError

TRAINING = Training(epochs=3, least_steps=1, batch=5, learning_rate=0.01, weight_decay=0.001, scale=16.0, seed=3)


def held_out(each: int = 4, classes: int = 3, dimensions: int = 6, seed: int = 0) -> tuple[torch.Tensor, list[str]]:
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, dimensions, generator=draw)
    labels = [index % classes for index in range(each * classes)]
    return l2(centres[labels] + 0.8 * torch.randn(len(labels), dimensions, generator=draw)), [f"thing_{label}" for label in labels]


def gradients(layer: np.ndarray, shift: np.ndarray, classes: np.ndarray, rows: np.ndarray, labels: list[int], scale: float) -> list[np.ndarray]:
    """Of the mean over the rows of −log softmax(scale · cos)_label, image by image and class by class."""
    found = [np.zeros_like(layer), np.zeros_like(shift), np.zeros_like(classes)]
    for row, label in zip(rows, labels, strict=True):
        adapted = layer @ row + shift
        length = np.linalg.norm(adapted)
        unit, lengths = adapted / length, np.linalg.norm(classes, axis=1)
        directions = classes / lengths[:, None]
        logits = scale * directions @ unit
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        of_adapted = np.zeros_like(adapted)
        for own, share in enumerate(shares):
            slope = scale * (share - (own == label)) / len(rows)
            cosine = directions[own] @ unit
            of_adapted += slope * (directions[own] - cosine * unit) / length
            found[2][own] += slope * (unit - cosine * directions[own]) / lengths[own]
        found[0] += np.outer(of_adapted, row)
        found[1] += of_adapted
    return found


def plainly_trained(rows: np.ndarray, labels: list[int], weights: list[np.ndarray], training: Training) -> list[np.ndarray]:
    """By Adam with its published constants, and weight decay in the gradient."""
    first, second = ([np.zeros_like(each) for each in weights] for _ in range(2))
    step = 0
    for epoch in range(training.epochs):
        for chosen in batches(len(rows), training.batch, training.seed + epoch):
            step += 1
            places = chosen.tolist()
            slopes = gradients(weights[0], weights[1], weights[2], rows[places], [labels[place] for place in places], training.scale)
            for index, slope in enumerate(slopes):
                slope = slope + training.weight_decay * weights[index]
                first[index] = 0.9 * first[index] + 0.1 * slope
                second[index] = 0.999 * second[index] + 0.001 * slope**2
                change = first[index] / (1 - 0.9**step) / (np.sqrt(second[index] / (1 - 0.999**step)) + 1e-8)
                weights[index] = weights[index] - training.learning_rate * change
    return weights


@pytest.mark.parametrize("dim", [None, 4])
def test_it_is_trained_as_plain_loops_train_it(dim: int | None) -> None:
    vectors, instances = held_out()
    model = LinearAdaptation(TRAINING, dim).fit(vectors, instances)
    labels = [int(name[-1]) for name in instances]
    start = [each.double().numpy() for each in first_weights(6, dim or 6, 3, TRAINING.seed)]
    layer, shift, _ = plainly_trained(vectors.double().numpy(), labels, start, TRAINING)
    np.testing.assert_allclose(model.components_.numpy(), layer, atol=2e-4)
    np.testing.assert_allclose(model.shift_.numpy(), shift, atol=2e-4)
    np.testing.assert_allclose(model.transform(vectors).numpy(), vectors.numpy() @ layer.T + shift, atol=1e-3)
    assert (model.count_, model.instances_, model.components_.shape) == (12, 3, (dim or 6, 6))


def test_an_epoch_leaves_its_last_few_images_out() -> None:
    assert [len(chosen) for chosen in batches(12, 5, 0)] == [5, 5]
    assert [len(chosen) for chosen in batches(3, 5, 0)] == [3]
    assert sorted(torch.cat(list(batches(10, 5, 0))).tolist()) == list(range(10))
    assert torch.cat(list(batches(10, 5, 0))).tolist() != torch.cat(list(batches(10, 5, 1))).tolist()


def test_few_images_are_passed_over_more_often() -> None:
    assert replace(TRAINING, least_steps=7).passes(12) == 4, "two steps an epoch"
    assert replace(TRAINING, least_steps=7).passes(3) == 7
    assert replace(TRAINING, least_steps=6).passes(1000) == 3
    vectors, instances = held_out()
    longer = LinearAdaptation(replace(TRAINING, epochs=1, least_steps=6)).fit(vectors, instances)
    assert torch.equal(longer.components_, LinearAdaptation(TRAINING).fit(vectors, instances).components_)


def test_it_drops_what_differs_within_instances() -> None:
    """Instances differ in four dimensions, their images in twelve others and by more: other images of other instances are told apart as well."""
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(60).repeat(8)
    vectors = l2(torch.cat([torch.randn(60, 4, generator=draw)[labels], 2 * torch.randn(480, 12, generator=draw)], dim=1))
    trained, unseen = labels < 40, labels >= 40
    names = [f"thing_{label}" for label in labels[trained].tolist()]
    model = LinearAdaptation(replace(TRAINING, epochs=100, batch=64)).fit(vectors[trained], names)

    def right(rows: torch.Tensor) -> float:
        nearest = (rows @ rows.T - 2 * torch.eye(len(rows))).argmax(dim=1)
        return float((labels[unseen][nearest] == labels[unseen]).double().mean())

    assert right(vectors[unseen]) < 0.3
    assert right(l2(model.transform(vectors[unseen]))) > 0.5


def test_unknown_instances_are_left_out_and_the_same_seed_gives_the_same() -> None:
    vectors, instances = held_out()
    unknown: list[str | None] = [*instances, None, None]
    more = torch.cat([vectors, l2(torch.ones(2, 6))])
    one, other = LinearAdaptation(TRAINING).fit(vectors, instances), LinearAdaptation(TRAINING).fit(more, unknown)
    assert torch.equal(one.components_, other.components_)
    assert not torch.equal(one.components_, LinearAdaptation(replace(TRAINING, seed=4)).fit(vectors, instances).components_)


def test_one_instance_is_refused() -> None:
    vectors, _ = held_out()
    with pytest.raises(ModelError, match="needs held-out images of two instances or more; there are 4 images of 1"):
        LinearAdaptation(TRAINING).fit(vectors[:4], ["a"] * 4)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    vectors, instances = held_out()
    model = LinearAdaptation(TRAINING, 4).fit(vectors, instances)
    model.save(tmp_path)
    loaded = LinearAdaptation.load(tmp_path)
    assert torch.equal(loaded.transform(vectors), model.transform(vectors))
    assert loaded.training == model.training
    assert loaded.loss_ == pytest.approx(model.loss_)
