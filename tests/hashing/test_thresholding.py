"""One bit per dimension, against plain comparisons."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.hashing.hasher import unpack
from pipeline.hashing.thresholding import Level, Thresholding
from pipeline.stage.errors import ModelError


@pytest.mark.parametrize("level", ["median", "mean"])
def test_bits_say_what_exceeds_the_level(level: Level, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    held_out, vectors = random.gamma(1.0, size=(101, 16)).astype(np.float32), random.gamma(1.0, size=(7, 16)).astype(np.float32)
    model = Thresholding(16, level=level).fit(torch.from_numpy(held_out))
    codes = model.encode(torch.from_numpy(vectors))
    assert codes.shape == (7, 2)
    expected = vectors > (np.median(held_out, axis=0) if level == "median" else held_out.mean(axis=0))
    np.testing.assert_array_equal(unpack(codes).numpy(), expected)
    model.save(tmp_path, learned_on=None)
    torch.testing.assert_close(Thresholding.load(tmp_path).encode(torch.from_numpy(vectors)), codes, rtol=0, atol=0)


def test_the_median_balances_the_bits() -> None:
    held_out = torch.rand(200, 8, generator=torch.Generator().manual_seed(0)) ** 3
    np.testing.assert_allclose(unpack(Thresholding(8).fit(held_out).encode(held_out)).float().mean(dim=0), 0.5)


def test_another_number_of_bits_than_dimensions_is_refused() -> None:
    with pytest.raises(ModelError, match=r"set hash\.thresholding\.bits to 16, not 8"):
        Thresholding(8).fit(torch.rand(20, 16))
