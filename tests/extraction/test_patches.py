"""Patches of images: the fast way against the exact one, equal areas, unusual shapes, and shards that hold them."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from pipeline.contracts.executors.executing import Place, untold
from pipeline.contracts.features.feature_parameters import ExtractParameters, PatchLayout
from pipeline.contracts.features.feature_shards import read_features
from pipeline.contracts.features.patches import PatchForm
from pipeline.extraction import patches as patches_module
from pipeline.extraction.bucket_tasks import bucket_tasks
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.known_values import NOTHING
from pipeline.extraction.loading import LoadedBatch
from pipeline.extraction.planning import PlannedBatch, plan_batches
from pipeline.extraction.shards import ShardWriter
from pipeline.networks.registry import ARCHITECTURES, load_network, own_keys
from pipeline.networks.weight_files import read_weights
from pipeline.patches.geometry import LAYOUTS, patches_of
from pipeline.patches.pooling import spatial_max_pool
from tests.extraction.test_extraction import CPU, store_images, wanted
from tests.networks.test_networks import random_weights
from tests.pictures import pixels

WAYS: tuple[Literal["response_maps", "crops"], ...] = ("response_maps", "crops")


def _pretrained() -> dict[str, torch.Tensor]:
    package = ARCHITECTURES["efficientnet_lite0"].package
    assert package is not None
    return own_keys("efficientnet_lite0", read_weights(package()))


def extractor(**parameters: object) -> FeatureExtractor:
    network = load_network("squeezenet1_1", random_weights("squeezenet1_1"))
    return FeatureExtractor(network, ExtractParameters.model_validate({"storage": "float32", "patch_sides": [96], **parameters}), CPU)


def loaded(count: int = 1, width: int = 200, height: int = 140) -> LoadedBatch:
    plan = PlannedBatch(Path("s"), tuple(f"i{index}" for index in range(count)), width, height)
    return LoadedBatch(plan, np.stack([pixels(index, width, height) for index in range(count)]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_patches_by_themselves_are_crops_at_equal_area_through_the_network(layout: PatchLayout) -> None:
    own = extractor(patch_levels=3, patch_way="crops", patch_layout=layout)
    batch = loaded(2)
    found = own.features(batch)
    assert found.maps[0].shape == (2, 512, 14, 4)
    assert found.patches == PatchForm(3, 2, (512,))
    images = own.network.preprocess(batch.pixels)
    for index, (_, *corners) in enumerate(patches_of(layout, 200, 140, 3).tolist()):
        x0, y0, x1, y1 = (int(np.floor(corner + 0.5)) for corner in corners)
        factor = 96 / np.sqrt((x1 - x0) * (y1 - y0))
        size = round((y1 - y0) * factor), round((x1 - x0) * factor)
        assert abs(size[0] * size[1] / 96**2 - 1) < 0.02
        crop = F.interpolate(images[:, :, y0:y1, x0:x1], size, mode="bilinear", antialias=True, align_corners=False)
        with torch.inference_mode():
            maps = own.network.feature_maps(crop)
        expected = spatial_max_pool(maps, torch.tensor([[0, 0, *maps.shape[2:]]]), 2)[:, 0].unflatten(1, (512, 4))
        np.testing.assert_allclose(found.maps[0][:, :, index], expected.numpy(), atol=1e-4)


@pytest.mark.slow
def test_the_fast_way_comes_close_to_the_exact_one() -> None:
    from sklearn.datasets import load_sample_images

    photographs = np.stack([image[:420, :640] for image in load_sample_images().images])
    batch = LoadedBatch(PlannedBatch(Path("s"), ("i0", "i1"), 640, 420), photographs)
    network = load_network("efficientnet_lite0", _pretrained())
    fast, exact = (
        FeatureExtractor(network, ExtractParameters(patch_levels=4, patch_sides=(256,), patch_way=way, storage="float32"), CPU)
        .features(batch)
        .maps[0]
        .max(axis=3)
        for way in WAYS
    )
    products = (fast * exact).sum(axis=1) / np.linalg.norm(fast, axis=1) / np.linalg.norm(exact, axis=1)
    assert products[:, 0].min() > 0.999  # the whole image is the same in both
    assert products.mean() > 0.75  # the network sees beyond a patch on the whole image, and a border around it by itself
    others = (fast * np.roll(exact, 1, axis=0)).sum(axis=1) / np.linalg.norm(fast, axis=1) / np.linalg.norm(exact, axis=1)
    assert others.mean() < products.mean() - 0.4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(2000, 100), (100, 2000), (40, 40), (3, 9), (1, 60)])
def test_small_and_extreme_images_have_all_their_patches(way: str, size: tuple[int, int]) -> None:
    features = extractor(patch_levels=4, patch_sides=[64], patch_way=way).features(loaded(1, *size))
    assert features.maps[0].shape == (1, 512, 30, 4)
    assert np.isfinite(features.maps[0]).all()
    assert (features.width, features.height) == size


def test_several_sides_are_concatenated() -> None:
    batch = loaded()
    both = extractor(patch_levels=2, patch_sides=[96, 128]).features(batch)
    assert both.patches == PatchForm(2, 2, (512, 512))
    single = [extractor(patch_levels=2, patch_sides=[side]).features(batch).maps[0] for side in (96, 128)]
    np.testing.assert_allclose(both.maps[0], np.concatenate(single, axis=1), atol=1e-5)


def test_patches_do_not_depend_on_the_batch_or_on_the_levels_asked_for() -> None:
    four = extractor(patch_levels=4).features(loaded(5)).maps[0]
    two = extractor(patch_levels=2).features(loaded(1)).maps[0]
    np.testing.assert_allclose(four[:1, :, :5], two, atol=1e-4, rtol=1e-3)


def test_larger_scales_are_fed_in_smaller_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[tuple[int, ...]] = []

    def resized(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
        fed.append((len(images), height * width))
        return torch.zeros(len(images), 3, height, width)

    monkeypatch.setattr(patches_module, "resize_images", resized)
    images = torch.zeros(8, 3, 100, 100)
    patches_module.patch_features(lambda maps: maps, images, ExtractParameters(patch_levels=4, patch_sides=(100,)), 16, 8)
    assert max(count * area for count, area in fed) <= 8 * 100**2 * 1.1
    assert {area for _, area in fed} == {100**2, 150**2, 200**2, 250**2}


def test_patches_of_a_box_lie_in_it_and_only_see_what_surrounds_it() -> None:
    def maps_of(images: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(images, 8)

    images = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    parameters = ExtractParameters(patch_levels=1, patch_sides=(32,))
    found = patches_module.patch_features(maps_of, images, parameters, 8, 4, (64.0, 32.0, 96.0, 64.0))
    alone = patches_module.patch_features(maps_of, images[:, :, 32:64, 64:96], parameters, 8, 4)
    torch.testing.assert_close(found, alone)
    levels = ExtractParameters(patch_levels=3, patch_sides=(32,), patch_way="crops")
    found = patches_module.patch_features(maps_of, images, levels, 8, 4, (64.0, 32.0, 96.0, 64.0))
    torch.testing.assert_close(found, patches_module.patch_features(maps_of, images[:, :, 32:64, 64:96], levels, 8, 4))


def test_shards_hold_patches_and_say_so(workplace: Path) -> None:
    store_images(workplace / "x", [(90, 60), (60, 90)] * 3)
    own = extractor(patch_levels=2, storage="float16")
    batches = plan_batches(workplace / "x", wanted(6))
    assert own.values(batches[0]) == len(batches[0].image_ids) * 512 * 5 * 4
    (task,) = bucket_tasks(workplace / "x", ["database"])
    done = ShardWriter(own, Place(workplace, "cpu", 1, untold), NOTHING, {}).write(task)
    assert (done.files, done.images, done.fresh) == (["part-00000-000.parquet"], 6, 6)
    stored = list(read_features(workplace / done.files[0]))
    assert sorted(image for batch in stored for image in batch.image_ids) == [f"i{index}" for index in range(6)]
    for batch in stored:
        assert batch.patches == PatchForm(2, 2, (512,))
        assert batch.maps[0].shape[1:] == (512, 5, 4)
        assert (batch.width, batch.height) in ((90, 60), (60, 90))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"patch_levels": 2, "scales": [1.0, 0.5]}, "scales belongs to whole maps"),
        ({"patch_sides": []}, "between 32 and 4096"),
        ({"patch_sides": [200, 200]}, "distinct"),
        ({"patch_levels": -1}, "greater than or equal to 0"),
        ({"patch_way": "windows"}, "'response_maps' or 'crops'"),
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExtractParameters.model_validate(parameters)
