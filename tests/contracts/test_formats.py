"""Parquet formats: what is written is read back, bytes are deterministic, foreign and damaged files are named."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.contracts.descriptors import descriptor_columns, descriptor_writer, read_descriptors
from pipeline.contracts.features.feature_shards import FeatureBatch, feature_columns, feature_writer, read_features
from pipeline.contracts.held_out import held_out_rows
from pipeline.contracts.images.cells import Grid, Part
from pipeline.contracts.images.image_shards import StoredImage, image_columns, image_writer, read_images, read_sizes
from pipeline.contracts.models import load_model, save_model
from pipeline.stage.catalogue import (
    CatalogueRow,
    GroundTruth,
    read_catalogue,
    read_ground_truth,
    write_catalogue,
    write_ground_truth,
)
from pipeline.stage.errors import ModelError, ShardError
from pipeline.stage.manifest import CARD
from pipeline.stage.tables import open_table, open_writer

ROWS = [
    CatalogueRow("a", "x/a.jpg", "00", 640, 480, "database", "tower"),
    CatalogueRow("q", "x/q.jpg", "01", 640, 480, "query", "tower", 1.0, 2.0, 30.0, 40.0, rotation=90),
    CatalogueRow("b", "x/b.jpg", "02", 0, 0, "held_out", status="unreadable: the file is empty"),
]


def test_catalogue_round_trip(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "c.parquet", ROWS)
    assert read_catalogue(tmp_path / "c.parquet") == ROWS
    assert ROWS[1].box == (1.0, 2.0, 30.0, 40.0)
    assert ROWS[0].box is None


def test_unreadable_images_serve_nobody() -> None:
    assert held_out_rows(ROWS) == [ROWS[0]]


def test_ground_truth_round_trip(tmp_path: Path) -> None:
    truth = GroundTruth("oxford", ("q", "lonely"), (("q", "a", "good"), ("q", "b", "junk")), {("q", "b"): (1.0, 2.5, 30.0, 40.0)})
    write_ground_truth(tmp_path / "g.parquet", truth)
    assert read_ground_truth(tmp_path / "g.parquet") == truth
    with pytest.raises(ShardError, match="unknown relevance"):
        write_ground_truth(tmp_path / "h.parquet", GroundTruth("oxford", ("q",), (("q", "a", "perfect"),)))
    assert not (tmp_path / "h.parquet").exists()


def test_image_shards(tmp_path: Path) -> None:
    images = [StoredImage("a", b"one", 4, 3, 0.5), StoredImage("b", b"two", 5, 6, 1.0, Part((1.0, 2.0, 3.0, 4.0), centred=True), role="query")]
    with image_writer(tmp_path / "i.parquet") as writer:
        for image in images:
            writer.write(image_columns([image]))
    assert list(read_images(tmp_path / "i.parquet")) == images
    assert list(read_images(tmp_path / "i.parquet", {"b"})) == images[1:]
    assert read_sizes(tmp_path / "i.parquet") == [
        ("a", "database", 4, 3, None, hashlib.sha256(b"one").digest()),
        ("b", "query", 5, 6, Part((1.0, 2.0, 3.0, 4.0), centred=True), hashlib.sha256(b"two").digest()),
    ]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_feature_shards(tmp_path: Path, dtype: str) -> None:
    generator = np.random.default_rng(0)
    batches = [
        FeatureBatch(
            ["a", "b"], 80, 64, [generator.random((2, 3, 4, 5), np.float32), generator.random((2, 3, 2, 2), np.float32)], [1.0, 0.5], Grid(16.0, 15.5)
        ),
        FeatureBatch(["c"], 16, 16, [generator.random((1, 3, 1, 1), np.float32)], [1.0], Grid.even(16.0)),
    ]
    with feature_writer(tmp_path / "f.parquet", dtype) as writer:
        for batch in batches:
            writer.write(feature_columns(batch, dtype))
    for read, batch in zip(read_features(tmp_path / "f.parquet"), batches, strict=True):
        assert (read.image_ids, read.scales) == (batch.image_ids, batch.scales)
        for one, other in zip(read.maps, batch.maps, strict=True):
            np.testing.assert_array_equal(one, other.astype(dtype))


def test_descriptors_are_read_in_blocks(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).random((10, 7), np.float32)
    ids = [f"i{index}" for index in range(10)]
    with descriptor_writer(tmp_path / "d.parquet", 7) as writer:
        writer.write(descriptor_columns(ids[:6], vectors[:6]))
        writer.write(descriptor_columns(ids[6:], vectors[6:]))
    blocks = list(read_descriptors(tmp_path / "d.parquet", block=4))
    assert max(len(block[0]) for block in blocks) <= 4
    assert [name for block in blocks for name in block[0]] == ids
    np.testing.assert_array_equal(np.concatenate([block[1] for block in blocks]), vectors)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_catalogue(tmp_path / name, ROWS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_foreign_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "c.parquet", ROWS)
    with pytest.raises(ShardError, match=r"c\.parquet: holds catalogue version 1, expected descriptors"):
        open_table(tmp_path / "c.parquet", "descriptors")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ShardError, match=r"bad\.parquet: not a readable Parquet file"):
        open_table(tmp_path / "bad.parquet", "catalogue")
    with pytest.raises(ShardError, match="run the stage that makes it"):
        open_table(tmp_path / "none.parquet", "catalogue")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "plain.parquet")
    with pytest.raises(ShardError, match="an unknown kind"):
        open_table(tmp_path / "plain.parquet", "catalogue")


def write_and_fail(path: Path) -> None:
    with open_writer(path, "k", pa.schema([("a", pa.int32())])) as writer:
        writer.write({"a": [1]})
        raise RuntimeError("stop")


def test_nothing_is_left_of_a_file_whose_writing_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        write_and_fail(tmp_path / "x.parquet")
    assert list(tmp_path.iterdir()) == []


def test_models_round_trip_and_shapes_are_checked(tmp_path: Path) -> None:
    save_model(tmp_path, {"mean": torch.ones(3)}, {"method": "mac"})
    tensors, card = load_model(tmp_path)
    assert torch.equal(tensors["mean"], torch.ones(3))
    assert card["versions"]["torch"]
    (tmp_path / CARD).write_text((tmp_path / CARD).read_text().replace("3", "4"), encoding="utf-8")
    with pytest.raises(ModelError, match="the card says"):
        load_model(tmp_path)
