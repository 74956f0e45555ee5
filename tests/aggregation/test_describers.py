"""Describers against plain NumPy from map to descriptor."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError

from pipeline.aggregation.describers.registry import load_describer, new_describer
from pipeline.aggregation.params import METHODS, AdaptationParameters, MacParameters, RmacParameters, SpocParameters
from pipeline.aggregation.regions import rmac_regions
from pipeline.contracts.held_out import (
    HeldOutSet,
    TrainedOn,
    duplicated,
    held_out_ids,
    refuse_leakage,
    refuse_leakage_to_distractors,
    refuse_trained_network,
)
from pipeline.contracts.models import save_model
from pipeline.maps.stream import MapBatch
from pipeline.projections.adaptation import LinearAdaptation, Training
from pipeline.projections.normalization import l2
from pipeline.stage.catalogue import CatalogueRow
from pipeline.stage.errors import LeakageError, SanityError
from tests.aggregation.test_pooling import plain_gem, plain_regional_gem

SMALL = {
    "rmac": {"regional_whitening": "none"},
    "clusters": {"local_dimensions": 3, "feature_counts": [2, 5], "colour_counts": []},
    "selective": {"local_dimensions": 4, "codebook": 3, "truncate": 2, "floor": 3},
}
Floats = npt.NDArray[np.float64]


def maps(seed: int, count: int = 6, channels: int = 8, size: tuple[int, int] = (6, 9)) -> torch.Tensor:
    return torch.relu(torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(seed)))


def unit(vector: Floats) -> Floats:
    norm = float(np.sqrt((vector**2).sum()))
    return vector / norm if norm else vector


def plain_whitening(vectors: Floats, dim: int) -> tuple[Floats, Floats]:
    mean = vectors.mean(axis=0)
    values, basis = np.linalg.eigh(np.cov(vectors.T, bias=True))
    order = np.argsort(values)[::-1][:dim]
    components = basis[:, order].T / np.sqrt(values[order])[:, None]
    signs = np.array([np.sign(row[np.abs(row).argmax()]) for row in components])
    return mean, components * signs[:, None]


def plain_regions(feature_map: Floats) -> list[Floats]:
    height, width = feature_map.shape[1:]
    return [unit(feature_map[:, y : y + h, x : x + w].max(axis=(1, 2))) for y, x, h, w in rmac_regions(height, width).tolist()]


def test_rmac_is_max_norm_whiten_norm_sum_norm() -> None:
    held_out, images = [maps(0, 40), maps(1, 30, size=(7, 5))], maps(2, 4)
    describer = new_describer("rmac", RmacParameters(regional_whitening="pca_whitening", regional_dimensions=5))

    def stream() -> Iterator[MapBatch]:
        return iter([MapBatch([batch]) for batch in held_out])

    describer.fit(stream)
    regions = np.array([region for batch in held_out for image in batch.double().numpy() for region in plain_regions(image)])
    mean, components = plain_whitening(regions, 5)
    expected = [unit(np.sum([unit(components @ (region - mean)) for region in plain_regions(image)], axis=0)) for image in images.double().numpy()]
    np.testing.assert_allclose(describer.describe(MapBatch([images])).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"patches", "class_scores", "region_descriptor", "salad", "bag_of_words"}))
def test_descriptors_have_unit_length_and_black_images_are_zero(method: str) -> None:
    parameters = METHODS[method].model_validate(SMALL.get(method, {}))
    describer = new_describer(method, parameters)
    describer.fit(lambda: iter([MapBatch([maps(seed)]) for seed in range(20, 40)]))
    vectors = describer.describe(MapBatch([maps(5), maps(6, size=(3, 4))]))
    np.testing.assert_allclose(vectors.norm(dim=1).numpy(), 1, rtol=1e-5)
    black = describer.describe(MapBatch([torch.zeros(2, 8, 4, 4)]))
    assert torch.isfinite(black).all()
    if method != "gem":  # its floor makes a black image the uniform vector
        assert not black.any()


def test_super_global_whitens_each_scale_and_takes_the_highest() -> None:
    held_out, scales = [maps(0, 40), maps(1, 30, size=(7, 5))], [maps(2, 4), maps(3, 4, size=(12, 18))]
    describer = new_describer("super_global", METHODS["super_global"].model_validate({"dimensions": 5}))
    describer.fit(lambda: iter([MapBatch([batch]) for batch in held_out]))

    def pooled(batch: torch.Tensor) -> Floats:
        neighbourhoods = [plain_regional_gem(image, 2.5, 2, 2) for image in batch.double().numpy()]
        return np.array([unit(plain_gem(image, 4.6)) for image in neighbourhoods])

    mean, components = plain_whitening(np.concatenate([pooled(batch) for batch in held_out]), 5)
    whitened = [[unit(components @ (row - mean)) for row in pooled(scale)] for scale in scales]
    expected = [unit(row) for row in np.max(whitened, axis=0)]
    np.testing.assert_allclose(describer.describe(MapBatch(scales)).numpy(), expected, atol=1e-3)
    assert describer.dimensions(8) == 5


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"whitening": "none", "dimensions": 5}, "dimensions needs whitening: pca or pca_whitening, not none"),
        ({"whitening": "network", "dimensions": 5}, "not network; set it to null"),
        ({"region_side": 4}, "region_side 4 has no middle; set it to an odd number"),
    ],
)
def test_super_global_refuses_what_makes_no_sense(values: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        METHODS["super_global"].model_validate(values)


def test_several_scales_are_averaged_and_gem_by_its_own_mean() -> None:
    scales = [maps(1), maps(2, size=(3, 4))]
    for method, power in (("mac", 1.0), ("gem", 3.0)):
        describer = new_describer(method, METHODS[method]())
        each = [describer.describe(MapBatch([scale])).double().numpy() for scale in scales]
        expected = np.mean([vectors**power for vectors in each], axis=0) ** (1 / power)
        np.testing.assert_allclose(describer.describe(MapBatch(scales)).numpy(), [unit(row) for row in expected], atol=1e-5)


def test_a_saved_describer_describes_the_same(tmp_path: Path) -> None:
    describer = new_describer("spoc", SpocParameters(whitening="pca_whitening", dimensions=4))
    describer.fit(lambda: iter([MapBatch([maps(seed)]) for seed in range(10)]))
    save_model(tmp_path, *describer.state())
    loaded, card = load_describer(tmp_path, torch.device("cpu"))
    assert torch.equal(loaded.describe(MapBatch([maps(11)])), describer.describe(MapBatch([maps(11)])))
    assert card["method"] == "spoc"


def row(image_id: str, role: str, sha256: str = "") -> CatalogueRow:
    return CatalogueRow(image_id, image_id, sha256 or image_id, 10, 10, role)


def test_held_out_images_are_those_of_that_role_or_else_the_database() -> None:
    assert held_out_ids([row("a", "database"), row("b", "held_out"), row("c", "query")]) == ({"b"}, "held_out")
    assert held_out_ids([row("a", "database"), row("c", "query")]) == ({"a"}, "database")
    assert held_out_ids([]) == (set(), "held_out")


def test_learning_on_what_is_searched_is_refused() -> None:
    with pytest.raises(LeakageError, match=r"benchmarks\.paris\.allow_self_learning: true"):
        refuse_leakage("paris", "paris6k", "paris6k", "database", allowed=False)
    refuse_leakage("paris", "paris6k", "paris6k", "database", allowed=True)
    refuse_leakage("paris", "paris6k", "paris6k", "held_out", allowed=False)
    refuse_leakage("paris", "paris6k", "oxford5k", "database", allowed=False)


def test_learning_on_the_distractors_is_refused() -> None:
    learned = HeldOutSet(dataset="flickr", role="distractor", images=3)
    with pytest.raises(LeakageError, match="distractor images of flickr, which are its distractors as well"):
        refuse_leakage_to_distractors("paris", "flickr", "distractor", learned, allowed=False)
    refuse_leakage_to_distractors("paris", "flickr", "distractor", learned, allowed=True)
    refuse_leakage_to_distractors("paris", "flickr", "distractor", learned.model_copy(update={"role": "held_out"}), allowed=False)
    refuse_leakage_to_distractors("paris", "flickr", "distractor", None, allowed=False)


def test_a_network_is_not_applied_to_what_it_was_trained_on() -> None:
    step = {"dataset": "museum", "role": "database", "images": 6, "instances": ["a", "b"], "step": "classification"}
    told = [TrainedOn(dataset="museum", role="database", images=6, instances=2)]
    with pytest.raises(LeakageError, match=r"benchmarks.b: the network is fine-tuned on the database images of museum .*allow_self_learning: true"):
        refuse_trained_network("b", "museum", {"trained_on": [step]}, allowed=False)
    assert refuse_trained_network("b", "museum", {"trained_on": [step]}, allowed=True) == told
    assert refuse_trained_network("b", "other", {"trained_on": [step]}, allowed=False) == told
    assert refuse_trained_network("b", "museum", {"trained_on": [step | {"role": "held_out"}]}, allowed=False)[0].role == "held_out"
    assert refuse_trained_network("b", "museum", {}, allowed=False) == []


def test_identical_files_in_both_sets_are_found() -> None:
    assert duplicated([row("h", "held_out", "x")], [row("d", "database", "x"), row("e", "database", "y")]) == [("h", "d")]


def test_a_descriptor_that_is_not_finite_is_named(tmp_path: Path) -> None:
    from pipeline.aggregation.sink import DescriptorSink

    vectors = np.ones((2, 3), np.float32)
    vectors[1, 2] = np.inf
    with pytest.raises(SanityError, match="descriptor of b"), DescriptorSink(tmp_path / "database-00000.parquet") as sink:
        sink.add(["a", "b"], vectors)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_linear_adaptation_follows_the_pooling() -> None:
    describer = new_describer("mac", MacParameters(whitening="adaptation", dimensions=3, adaptation=AdaptationParameters(epochs=2, least_steps=1)))
    held_out = [maps(seed, count=2) for seed in range(6)]
    stream = [MapBatch([own], instances=["a", None] if seed % 2 else ["b", "a"]) for seed, own in enumerate(held_out)]
    describer.fit(lambda: iter(stream))
    pooled = l2(torch.cat([own.amax(dim=(2, 3)) for own in held_out]))
    known = [instance for batch in stream for instance in batch.instances]
    model = LinearAdaptation(Training(2, 1, 128, 1e-3, 1e-6, 16.0, 0), 3).fit(pooled, known)
    expected = l2(model.transform(l2(maps(9).amax(dim=(2, 3)))))
    torch.testing.assert_close(describer.describe(MapBatch([maps(9)])), expected)
    assert describer.dimensions(8) == 3


@pytest.mark.parametrize(
    ("values", "told"),
    [({"whitening": "adaptation", "shrinkage": 0.1}, "shrinkage 0.1 has no spectrum to change"), ({"dimensions": 4}, "learned or adaptation")],
)
def test_whitenings_refuse_what_makes_no_sense(values: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        METHODS["gem"].model_validate(values)
