"""Precision of regions against boxes, in plain sums; the stage is run in tests/end_to_end."""

import numpy as np
import pytest
import torch

from pipeline.aggregation.regions import rmac_regions
from pipeline.projections.whitening import PCA
from pipeline.stage.errors import ModelError
from pipeline.studies.region_precision import cluster_precisions, component_maps, shares_inside, square_precisions


def test_shares_of_cells_are_those_of_their_pixels() -> None:
    box = (13, 6, 37, 20)
    mask = np.zeros((24, 48))
    mask[6:20, 13:37] = 1
    expected = mask.reshape(3, 8, 6, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(shares_inside(box, 48, 24, 8.0, 3, 6).numpy(), expected, atol=1e-6)
    assert float(shares_inside((-5, -5, 500, 500), 48, 24, 8.0, 3, 6).min()) == 1
    assert float(shares_inside((0, 0, 20, 20), 20, 20, 8.0, 3, 3).min()) == 1, "the last cells end with the image"


def test_precisions_are_means_over_the_cells_of_a_region() -> None:
    inside = torch.rand(6, 8, generator=torch.Generator().manual_seed(0))
    squares = square_precisions(inside)
    for found, (y, x, h, w) in zip(squares, rmac_regions(6, 8).tolist(), strict=True):
        assert float(found) == pytest.approx(float(sum(inside[row, column] for row in range(y, y + h) for column in range(x, x + w))) / (h * w))
    labels = torch.zeros(1, 48, dtype=torch.int64)
    labels[0, 10:] = 2
    values = inside.flatten()
    found = cluster_precisions(inside, [(labels, 3), (torch.zeros(1, 48, dtype=torch.int64), 1)])
    np.testing.assert_allclose(found.numpy(), [values[:10].mean(), values[10:].mean(), values.mean()], rtol=1e-5)


def test_maps_of_components_are_projections_brought_to_one_range() -> None:
    maps = torch.randn(1, 6, 4, 5, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)[None, :, None, None]
    features = maps[0].flatten(1).T.numpy().astype(np.float64)
    centred = features - features.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    found = component_maps(maps, PCA().fit(torch.from_numpy(features).float()), (1, 3, 9))
    assert list(found) == ["1", "3"]
    for number, values in found.items():
        axis = axes[int(number) - 1]
        projected = centred @ (axis * np.sign(axis[np.abs(axis).argmax()]))
        expected = (projected - projected.min()) / (projected.max() - projected.min())
        np.testing.assert_allclose(np.array(values).flatten(), expected, atol=2e-3)
    with pytest.raises(ModelError, match="9 components are wanted"):
        PCA().fit(torch.from_numpy(features).float()).first(9)
