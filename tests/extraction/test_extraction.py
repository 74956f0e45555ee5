"""Extraction: plans that depend on sizes alone, maps that do not depend on batches, shards that survive."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional as F

from pipeline.contracts.executors.executing import Place, untold
from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.contracts.features.feature_shards import read_features
from pipeline.contracts.images.cells import Part
from pipeline.contracts.images.image_shards import KIND, StoredImage, image_columns, image_writer
from pipeline.extraction import inference
from pipeline.extraction.bucket_tasks import BucketTask, bucket_tasks
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.known_values import NOTHING
from pipeline.extraction.loading import LoadedBatch, computed_batches, load_batches
from pipeline.extraction.planning import LARGEST_BATCH, PlannedBatch, plan_batches, plan_shards
from pipeline.extraction.shards import ShardWriter
from pipeline.imaging.images import decode
from pipeline.networks.registry import load_network
from pipeline.stage.manifest import Manifest, describe_parts
from tests.networks.test_networks import random_weights
from tests.pictures import encoded, pixels

CPU = torch.device("cpu")


def store_images(folder: Path, sizes: list[tuple[int, int]], parts: dict[int, Part] | None = None, per_shard: int = 8, queries: int = 0) -> None:
    """The first images are queries, the others belong to the database."""
    folder.mkdir(parents=True)
    names: list[str] = []
    for first in range(0, len(sizes), per_shard):
        names.append(f"part-{len(names):05d}.parquet")
        with image_writer(folder / names[-1]) as writer:
            for index in range(first, min(first + per_shard, len(sizes))):
                width, height = sizes[index]
                data = encoded(index, width, height, "PNG")
                part, role = (parts or {}).get(index), "query" if index < queries else "database"
                writer.write(image_columns([StoredImage(f"i{index}", data, width, height, 1.0, part, role=role)]))
    Manifest(KIND, describe_parts(folder, names)).save(folder)


def wanted(count: int) -> set[str]:
    return {f"i{index}" for index in range(count)}


def extractor(**parameters: object) -> FeatureExtractor:
    network = load_network("squeezenet1_1", random_weights("squeezenet1_1"))
    return FeatureExtractor(network, ExtractParameters.model_validate(parameters), CPU)


def test_batches_hold_images_of_equal_size_and_role(tmp_path: Path) -> None:
    sizes = [(64, 48), (48, 64)] * 8
    store_images(tmp_path / "x", sizes, queries=4)
    batches = plan_batches(tmp_path / "x", wanted(15))
    assert sorted(image for batch in batches for image in batch.image_ids) == sorted(wanted(15))
    for batch in batches:
        assert {sizes[int(image[1:])] for image in batch.image_ids} == {(batch.width, batch.height)}
        assert len({int(image[1:]) < 4 for image in batch.image_ids}) == 1
    assert batches == plan_batches(tmp_path / "x", wanted(15))


def test_tasks_are_of_the_buckets_that_have_images_of_a_role(tmp_path: Path) -> None:
    store_images(tmp_path / "x", [(64, 48), (48, 64)] * 10, {9: Part((0.0, 0.0, 9.0, 9.0))}, queries=10)
    queries, database = bucket_tasks(tmp_path / "x", ["query"]), bucket_tasks(tmp_path / "x", {"database"})
    assert [(task.name, task.images, task.pixels, task.cropped) for task in queries] == [
        ("part-00000", 8, 8 * 64 * 48, False),
        ("part-00001", 2, 2 * 64 * 48, True),
    ]
    assert [(task.name, task.images) for task in database] == [("part-00001", 6), ("part-00002", 4)]
    assert sum(task.images for task in queries) == sum(task.images for task in database) == 10
    found = [image for task in (*queries, *database) for batch in task.batches() for image in batch.image_ids]
    assert sorted(found) == sorted(wanted(20))
    assert bucket_tasks(tmp_path / "x", ["distractor"]) == []


def area(batch: PlannedBatch) -> float:
    return len(batch.image_ids) * batch.width * batch.height


def test_batches_and_shards_are_bounded() -> None:
    batches = [PlannedBatch(Path("s"), ("a",) * 8, 10, 10)] * 9
    shards = plan_shards(batches, area, limit=2000)
    assert [len(shard) for shard in shards] == [2, 2, 2, 2, 1]
    assert [len(shard) for shard in plan_shards(batches, area, 10)] == [1] * 9
    assert plan_shards([], area, 10) == []


def test_large_groups_are_split(tmp_path: Path) -> None:
    store_images(tmp_path / "x", [(40, 40)] * 40, per_shard=40)
    assert [len(batch.image_ids) for batch in plan_batches(tmp_path / "x", wanted(40))] == [LARGEST_BATCH, 40 - LARGEST_BATCH]


@pytest.mark.parametrize("threads", [1, 3])
def test_loading_keeps_order_and_pixels(tmp_path: Path, threads: int) -> None:
    store_images(tmp_path / "x", [(48, 40), (40, 48), (48, 40)] * 30)
    batches = plan_batches(tmp_path / "x", wanted(90))
    loaded = list(load_batches(batches, threads))
    assert [batch.plan for batch in loaded] == batches
    for batch in loaded:
        for image_id, image in zip(batch.plan.image_ids, batch.pixels, strict=True):
            np.testing.assert_array_equal(image, pixels(int(image_id[1:]), batch.plan.width, batch.plan.height))


def test_the_bytes_of_maps_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    store_images(tmp_path / "x", [(96, 64), (64, 96), (96, 64)] * 6)
    own, batches = extractor(), plan_batches(tmp_path / "x", wanted(18))
    one, three = ([own.batch(plan, maps) for plan, maps in zip(batches, computed(own, batches, threads), strict=True)] for threads in (1, 3))
    assert [each.image_ids for each in one] == [each.image_ids for each in three] == [list(batch.image_ids) for batch in batches]
    for first, second in zip(one, three, strict=True):
        np.testing.assert_array_equal(first.maps[0], second.maps[0])
        assert len(first.maps[0]) == len(first.image_ids)


def computed(own: FeatureExtractor, batches: list[PlannedBatch], threads: int) -> list[list[npt.NDArray[Any]]]:
    """Maps by so many threads."""
    return list(computed_batches(batches, lambda batch: own.features(batch).maps, threads, own.at_once))


def loaded(count: int, width: int = 64, height: int = 48, part: Part | None = None) -> LoadedBatch:
    plan = PlannedBatch(Path("s"), tuple(f"i{index}" for index in range(count)), width, height, part)
    return LoadedBatch(plan, np.stack([pixels(index, width, height) for index in range(count)]))


def test_maps_do_not_depend_on_the_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = extractor(storage="float32").features(loaded(6))
    monkeypatch.setenv("RETRIEVAL_BATCH_SIZE", "1")
    from pipeline.contracts.running.settings import settings

    settings.cache_clear()
    single = extractor(storage="float32").features(loaded(6))
    np.testing.assert_allclose(whole.maps[0], single.maps[0], atol=1e-4, rtol=1e-3)
    assert whole.image_ids == single.image_ids


def test_several_scales_are_those_of_resized_input() -> None:
    own = extractor(scales=[1.0, 0.5], storage="float32")
    one, half = own.maps(loaded(2, 96, 64))
    images = own.network.preprocess(loaded(2, 96, 64).pixels)
    smaller = F.interpolate(images, (32, 48), mode="bilinear", antialias=True, align_corners=False)
    with torch.inference_mode():
        torch.testing.assert_close(half, own.network.feature_maps(smaller), atol=1e-4, rtol=1e-3)
    assert one.shape[2:] == (3, 5)


def test_activations_inside_the_box_are_kept() -> None:
    part = Part((30.0, 20.0, 60.0, 46.0))
    own = extractor(storage="float32")
    whole = own.maps(loaded(1, 96, 64))[0]
    cropped = own.features(loaded(1, 96, 64, part))
    np.testing.assert_array_equal(cropped.maps[0], whole[:, :, 1:3, 1:4].numpy())


def test_cells_centred_in_the_box_are_kept() -> None:
    own = extractor(storage="float32")
    whole = own.maps(loaded(1, 96, 64))[0]
    first, stride = own.network.first_centre, own.network.stride
    low, high = first + 0.9 * stride, first + 2.1 * stride
    cropped = own.features(loaded(1, 96, 64, Part((low, first, high, first), centred=True)))
    np.testing.assert_array_equal(cropped.maps[0], whole[:, :, 0:1, 1:3].numpy())


@pytest.mark.parametrize(("precision", "known"), [("float32", False), ("bfloat16", False), ("bfloat16", True), ("float16", False)])
def test_a_processor_without_arithmetic_of_a_precision_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, precision: str, known: bool
) -> None:
    monkeypatch.setattr(inference, "_has_arithmetic", lambda wanted: known or wanted == "float32")
    extractor(precision=precision)
    assert (f"computes {precision} by way of float32" in caplog.text) is (precision != "float32" and not known)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_comes_close(precision: str) -> None:
    full = extractor(storage="float32").features(loaded(2)).maps[0]
    low = extractor(storage="float32", precision=precision).features(loaded(2)).maps[0]
    assert low.dtype == np.float32
    assert np.abs(full - low).max() < 0.05 * full.max()


def written(tasks: list[BucketTask], folder: Path, **parameters: object) -> dict[str, bytes]:
    """The files that a worker writes, by name."""
    writer = ShardWriter(extractor(**parameters), Place(folder, "cpu", 2, untold), NOTHING, {})
    return {name: (folder / name).read_bytes() for task in tasks for name in writer.write(task).files}


def test_each_bucket_has_shards_of_its_own_whoever_writes_them(tmp_path: Path) -> None:
    store_images(tmp_path / "x", [(64, 48), (48, 64), (64, 64)] * 8)
    tasks = bucket_tasks(tmp_path / "x", ["database"])
    assert [(task.name, task.images) for task in tasks] == [("part-00000", 8), ("part-00001", 8), ("part-00002", 8)]
    together = written(tasks, tmp_path / "one")
    assert list(together) == ["part-00000-000.parquet", "part-00001-000.parquet", "part-00002-000.parquet"]
    assert written(tasks[::-1], tmp_path / "two") == together
    batches = [batch for name in together for batch in read_features(tmp_path / "one" / name)]
    assert sorted(image for batch in batches for image in batch.image_ids) == sorted(wanted(24))
    assert all(batch.maps[0].dtype == np.dtype("<f2") for batch in batches)


def test_a_changed_image_changes_the_shards_of_its_bucket_alone(tmp_path: Path) -> None:
    sizes = [(64, 48), (48, 64), (64, 64)] * 8
    store_images(tmp_path / "x", sizes)
    store_images(tmp_path / "y", [*sizes[:9], (56, 40), *sizes[10:]])
    before, after = (written(bucket_tasks(tmp_path / name, ["database"]), tmp_path / f"maps-{name}") for name in "xy")
    assert [name for name in before if before[name] != after[name]] == ["part-00001-000.parquet"]


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    from pipeline.stage.errors import ShardError

    folder = tmp_path / "x"
    folder.mkdir()
    with image_writer(folder / "part-00000.parquet") as writer:
        writer.write(image_columns([StoredImage("odd", encoded(0, 40, 40, "PNG"), 64, 48, 1.0)]))
    Manifest(KIND, describe_parts(folder, ["part-00000.parquet"])).save(folder)
    with pytest.raises(ShardError, match="odd has"):
        list(load_batches(plan_batches(folder, {"odd"}), 1))
    assert decode(encoded(0, 40, 40, "PNG")).shape == (40, 40, 3)
