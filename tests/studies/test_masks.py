"""The mask study's numbers on known features, and which images it looks at."""

import itertools

import pytest
import torch

from pipeline.studies.masks import BINS, MaskStatistics
from pipeline.studies.sampling import evenly


def test_shares_and_histogram_are_means_over_images() -> None:
    statistics = MaskStatistics()
    statistics.add(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]), 6, 0.15)  # cosines 0, 1, 0
    statistics.add(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), 4, 0.15)  # cosine 0.7
    statistics.add(torch.tensor([[1.0, 0.0]]), 4, 0.15)  # no pair
    statistics.add(torch.zeros(0, 2), 4, 0.15)
    summary = statistics.summary()
    assert summary["kept"] == pytest.approx((3 / 6 + 2 / 4 + 1 / 4 + 0) / 4)
    assert summary["near_orthogonal"] == pytest.approx((2 / 3 + 0) / 2)
    assert sum(summary["histogram"]) == pytest.approx(1)
    assert summary["histogram"][BINS - 1] == pytest.approx(1 / 6)
    assert summary["histogram"][BINS // 2] == pytest.approx(1 / 3)


def test_the_limit_itself_counts_as_nearly_orthogonal() -> None:
    statistics = MaskStatistics()
    statistics.add(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), 2, 0.6001)
    assert statistics.near_orthogonal == [1.0]


def test_nothing_to_look_at_gives_zeros() -> None:
    assert MaskStatistics().summary() == {"kept": 0, "near_orthogonal": 0, "histogram": [0.0] * BINS}


def test_images_are_spread_evenly() -> None:
    ids = [str(index) for index in range(199)]
    chosen = [int(image_id) for image_id in evenly(ids, 100)]
    assert len(chosen) == 100
    assert chosen[0] == 0
    assert chosen[-1] >= 197
    assert {after - before for before, after in itertools.pairwise(chosen)} <= {1, 2}
    assert evenly(ids[:3], 100) == ids[:3]
    assert evenly(ids, 0) == []
