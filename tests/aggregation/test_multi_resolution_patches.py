"""The describer of patches against plain NumPy: pooling, parts, whitening by half, levels of references and queries."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError

from pipeline.aggregation.describers.multi_resolution_patches import MultiResolutionPatches
from pipeline.aggregation.describers.registry import load_describer
from pipeline.aggregation.params import MacParameters, PatchesParameters, refuse_unreadable_features
from pipeline.aggregation.sink import DescriptorSink
from pipeline.contracts.descriptors import KIND, read_descriptors
from pipeline.contracts.features.patches import PatchForm
from pipeline.contracts.models import save_model
from pipeline.maps.stream import MapBatch
from pipeline.projections.product_quantiser import ProductQuantiser
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


def coded(levels: int = 2, **parameters: object) -> MultiResolutionPatches:
    own = describer(levels=levels, whitening="pca", dimensions=6, code_bytes=3, **parameters)
    own.fit(lambda: iter([batch(seed, 40, levels=levels, parts=(12,)) for seed in (1, 2)]))
    return own


def plain_code(vector: Floats, codebooks: Floats) -> list[int]:
    """Of each part the nearest centroid, by a loop."""
    parts = vector.reshape(len(codebooks), -1)
    return [int(np.argmin([((part - centroid) ** 2).sum() for centroid in book])) for part, book in zip(parts, codebooks, strict=True)]


def test_references_are_stored_as_numbers_of_their_parts_nearest_centroids(tmp_path: Path) -> None:
    own, path = coded(), tmp_path / "database-00000.parquet"
    codes = own.product_codes
    assert codes is not None
    assert codes.codebooks.shape == (3, 256, 2)
    vectors = own.describe(batch(3, levels=2, parts=(12,))).numpy()
    with DescriptorSink(path, codes) as sink:
        sink.add(list("abcd"), vectors)
    stored = np.stack([np.frombuffer(value, np.uint8) for value in read_table(path, KIND)["vector"].to_pylist()])
    expected = [plain_code(vector.astype(np.float64), codes.codebooks.astype(np.float64)) for vector in vectors.reshape(-1, 6)]
    np.testing.assert_array_equal(stored, expected)
    ((ids, read),) = list(read_descriptors(path))
    meant = [[book[number] for book, number in zip(codes.codebooks, row, strict=True)] for row in expected]
    assert ids == list("abcd")
    np.testing.assert_array_equal(read.reshape(-1, 6), np.array(meant).reshape(-1, 6))
    assert sink.rounding == pytest.approx(float(np.linalg.norm(read - vectors, axis=2).max()))
    assert 0 < sink.rounding < 0.5


def test_more_bytes_lose_less_and_an_empty_patch_stays_empty() -> None:
    images = batch(3, levels=2, parts=(12,))
    images.scales[0][1, :, 4] = 0
    own, lost = coded(), []
    vectors = own.describe(images).numpy()
    for wanted in (1, 2, 3, 6):
        codes = ProductQuantiser(wanted).fit(own.describe(batch(4, 200, levels=2, parts=(12,))).flatten(0, 1)).codes
        read = codes.decode(codes.encode(vectors))
        assert not read[1, 4].any()
        lost.append(float(((read - vectors) ** 2).sum()))
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] < 0.1 * lost[0]


def test_codes_are_learned_from_reference_patches_drawn_evenly_and_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    own = coded(learning_patches=300)
    assert "Learning codes of 3 bytes from 300 of 400 patches." in caplog.text
    save_model(tmp_path, own.state()[0], own.state()[1] | {"learned_on": None})
    again, _ = load_describer(tmp_path, torch.device("cpu"))
    assert again.product_codes is not None
    vectors = own.describe(batch(3, levels=2, parts=(12,))).numpy()
    np.testing.assert_array_equal(again.product_codes.encode(vectors), own.product_codes.encode(vectors))  # type: ignore[union-attr]


def test_bytes_that_do_not_divide_the_dimensions_are_refused() -> None:
    with pytest.raises(ValidationError, match="code_bytes 4 does not divide dimensions 6"):
        PatchesParameters(dimensions=6, code_bytes=4)
    with pytest.raises(ModelError, match=r"aggregate\.patches\.code_bytes: 4 bytes do not divide the 6 dimensions; take 3"):
        describer(levels=1, whitening="none", code_bytes=4).fit(lambda: iter([batch(1, 300, levels=1)]))


def test_few_held_out_patches_give_few_centroids(caplog: pytest.LogCaptureFixture) -> None:
    own, held_out = describer(levels=1, whitening="none", code_bytes=3), batch(1, 40, levels=1)
    own.fit(lambda: iter([held_out]))
    assert "40 vectors give parts of 41 centroids, fewer than 256" in caplog.text
    vectors = own.describe(held_out).numpy()
    assert own.product_codes is not None
    np.testing.assert_allclose(own.product_codes.decode(own.product_codes.encode(vectors)), vectors, atol=1e-3)
