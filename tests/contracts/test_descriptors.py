"""Descriptor shards of each storage: what is read again is the nearest value that the storage has, and half of the bytes are saved."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.aggregation.sink import DescriptorSink
from pipeline.contracts.descriptors import read_descriptors
from pipeline.contracts.features.storage import STORED, Storage, rounded


def vectors(count: int = 300, dimensions: int = 24) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rows = np.random.default_rng(0).standard_normal((count, dimensions)).astype(np.float32)
    rows[0] = 0
    rows[1, :4] = [1e-30, -0.0, 2.0**-14, 1 + 2.0**-8]  # the last lies between two values of bfloat16, the even one is below
    return rows


@pytest.mark.parametrize("storage", STORED)
def test_values_are_rounded_as_torch_rounds_them(storage: Storage) -> None:
    rows = vectors()
    expected = torch.from_numpy(rows).to(getattr(torch, storage)).float().numpy()
    np.testing.assert_array_equal(rounded(rows, storage), expected)
    np.testing.assert_array_equal(rounded(expected, storage), expected)


@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("patches", [None, 3])
def test_a_shard_holds_rounded_vectors_and_says_how_far_they_are(storage: Storage, patches: int | None, tmp_path: Path) -> None:
    rows = vectors()
    own = rows if patches is None else rows.reshape(-1, patches, rows.shape[1])
    names = [f"i{place}" for place in range(len(own))]
    with DescriptorSink(tmp_path / "database-00000.parquet", storage) as sink:
        sink.add(names, own)
    blocks = list(read_descriptors(tmp_path / "database-00000.parquet", 64))
    assert [name for ids, _ in blocks for name in ids] == names
    found = np.concatenate([block for _, block in blocks])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, rounded(own, storage))
    assert sink.rounding == pytest.approx(np.linalg.norm(own - found, axis=-1).max(), abs=1e-7)
    assert (sink.rounding == 0) == (storage == "float32")


def test_half_of_the_bytes_are_saved(tmp_path: Path) -> None:
    sizes = {}
    for storage in ("float32", "float16", "bfloat16"):
        with DescriptorSink(tmp_path / storage, storage) as sink:
            sink.add([str(place) for place in range(4000)], vectors(4000, 256))
        sizes[storage] = (tmp_path / storage).stat().st_size
    assert sizes["float16"] < 0.52 * sizes["float32"]
    assert sizes["bfloat16"] < 0.52 * sizes["float32"]
