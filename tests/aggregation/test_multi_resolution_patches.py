"""The describer of patches against plain NumPy: pooling, parts, whitening by half, levels of references and queries."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pipeline.aggregation.describers.multi_resolution_patches import MultiResolutionPatches
from pipeline.aggregation.describers.registry import load_describer
from pipeline.aggregation.params import MacParameters, PatchesParameters, refuse_unreadable_features
from pipeline.aggregation.sink import DescriptorSink
from pipeline.contracts.descriptors import KIND, read_descriptors
from pipeline.contracts.features.patches import PatchForm
from pipeline.contracts.models import save_model
from pipeline.maps.stream import MapBatch
from pipeline.stage.errors import ModelError, ParameterError
from pipeline.stage.tables import read_table
from tests.aggregation.test_describers import plain_whitening, unit

Floats = npt.NDArray[np.float64]


def batch(seed: int, images: int = 4, levels: int = 3, parts: tuple[int, ...] = (6,)) -> MapBatch:
    count = sum(level**2 for level in range(1, levels + 1))
    values = torch.relu(torch.randn(images, sum(parts), count, 4, generator=torch.Generator().manual_seed(seed)))
    return MapBatch([values], patches=PatchForm(levels, 2, parts), image_size=(60, 40))


def describer(**parameters: object) -> MultiResolutionPatches:
    return MultiResolutionPatches("patches", PatchesParameters.model_validate({"levels": 3, **parameters}))


def plain_pooled(values: Floats, grid: int, parts: tuple[int, ...]) -> Floats:
    """(K, P, 4) to (P, K·g²), part by part."""
    rows = []
    for patch in range(values.shape[1]):
        pieces, first = [], 0
        for channels in parts:
            own = values[first : first + channels, patch]
            pieces.append(unit(own.reshape(-1) if grid == 2 else own.max(axis=1)))
            first += channels
        rows.append(unit(np.concatenate(pieces)))
    return np.array(rows)


@pytest.mark.parametrize("grid", [1, 2])
@pytest.mark.parametrize("parts", [(6,), (2, 4)])
@pytest.mark.parametrize("kind", ["none", "pca", "pca_whitening"])
@pytest.mark.parametrize("renormalise", [True, False])
def test_patches_are_pooled_normalised_and_whitened_to_half(grid: int, parts: tuple[int, ...], kind: str, renormalise: bool) -> None:
    own = describer(grid=grid, whitening=kind, renormalise=renormalise)
    held_out, images = [batch(seed, 40, parts=parts) for seed in (1, 2)], batch(3, parts=parts)
    own.fit(lambda: iter(held_out))
    expected = np.array([plain_pooled(values, grid, parts) for values in images.scales[0].double().numpy()])
    if kind != "none":
        learned = np.concatenate([plain_pooled(values, grid, parts) for held in held_out for values in held.scales[0].double().numpy()])
        mean, components = plain_whitening(learned, 3 * grid**2)
        if kind == "pca":
            components = components / np.linalg.norm(components, axis=1, keepdims=True)
        expected = (expected - mean) @ components.T
        if renormalise:
            expected = np.array([[unit(patch) for patch in image] for image in expected])
    np.testing.assert_allclose(own.describe(images).numpy(), expected, atol=2e-4)
    assert own.dimensions(6) == expected.shape[2]


def test_references_keep_the_patches_of_their_levels_and_queries_all() -> None:
    own = describer(levels=2, whitening="none")
    images = batch(1, levels=4)
    assert own.describe(images).shape == (4, 30, 6)
    for purpose, count in (("database", 5), ("queries", 30), ("distractors", 5)):
        assert own.patches(purpose, 4) == count


def test_the_whitening_is_learned_from_reference_patches_alone() -> None:
    few, many = describer(levels=1), describer(levels=1)
    few.fit(lambda: iter([batch(seed, 40, levels=1) for seed in (1, 2)]))
    first = [batch(seed, 40, levels=1) for seed in (1, 2)]
    longer = [
        MapBatch([torch.cat([maps.scales[0], torch.rand(40, 6, 13, 4)], dim=2)], patches=PatchForm(3, 2, (6,)), image_size=(60, 40)) for maps in first
    ]
    many.fit(lambda: iter(longer))
    torch.testing.assert_close(few.models["patches"].components_, many.models["patches"].components_)
    assert few.models["patches"].count_ == 80


def test_few_held_out_patches_give_fewer_dimensions_and_a_fixed_number_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    own = describer(levels=1)
    own.fit(lambda: iter([batch(1, 3)]))
    assert own.dimensions(6) == 1
    assert "fewer than half of 6" in caplog.text
    with pytest.raises(ModelError, match="3 components are wanted"):
        describer(levels=1, dimensions=3).fit(lambda: iter([batch(1, 3)]))


def test_an_empty_patch_stays_empty() -> None:
    own = describer()
    own.fit(lambda: iter([batch(seed, 40) for seed in (1, 2)]))
    images = batch(3)
    images.scales[0][1, :, 4] = 0
    vectors = own.describe(images)
    assert not vectors[1, 4].any()
    norms = vectors.norm(dim=2)
    assert float(norms[norms > 0].min()) == pytest.approx(1, abs=1e-5)


def test_a_saved_describer_gives_the_same(tmp_path: Path) -> None:
    own = describer(grid=2)
    own.fit(lambda: iter([batch(seed, 40) for seed in (1, 2)]))
    save_model(tmp_path, own.state()[0], own.state()[1] | {"learned_on": None})
    again, _ = load_describer(tmp_path, torch.device("cpu"))
    torch.testing.assert_close(again.describe(batch(3)), own.describe(batch(3)))


def test_shards_keep_every_patch(tmp_path: Path) -> None:
    own, path = describer(whitening="none"), tmp_path / "database-00000.parquet"
    with DescriptorSink(path) as sink:
        for seed in range(200):
            images = batch(seed, 2)
            sink.add([f"{seed}a", f"{seed}b"], own.describe(images)[:, :14].numpy())
    assert (sink.images, sink.dimensions, sink.varies) == (400, 6, True)
    for block in (1, 30, 4096):
        read = list(read_descriptors(path, block))
        assert [image for ids, _ in read for image in ids] == [f"{seed}{letter}" for seed in range(200) for letter in "ab"]
        vectors = np.concatenate([rows for _, rows in read])
        np.testing.assert_array_equal(vectors[4:6], own.describe(batch(2, 2)).numpy())
    table = read_table(path, KIND).slice(0, 28).to_pydict()
    assert table["image_id"] == ["0a"] * 14 + ["0b"] * 14


def test_features_of_another_form_are_refused() -> None:
    refuse_unreadable_features("patches", PatchesParameters(levels=4), 4, ())
    refuse_unreadable_features("mac", MacParameters(), 0, ())
    with pytest.raises(ParameterError, match=r"extract\.patch_levels: aggregate\.mac reads whole maps; set it to 0, not 4"):
        refuse_unreadable_features("mac", MacParameters(), 4, ())
    with pytest.raises(ParameterError, match=r"aggregate\.patches\.levels is 5; set it to 5 at least, not 4"):
        refuse_unreadable_features("patches", PatchesParameters(levels=5), 4, ())
    with pytest.raises(ValueError, match="holds maps, not patches"):
        describer().describe(MapBatch([torch.zeros(1, 3, 4, 4)]))
