"""Precision of regions against boxes, in plain sums; whole photographs of queries; the stage on a small data set."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.aggregation.regions import rmac_regions
from pipeline.imaging.params import ResizeParameters
from pipeline.studies.region_precision import THRESHOLDS, cluster_precisions, shares_inside, square_precisions, whole_queries
from tests.end_to_end.project import Project


def test_shares_of_cells_are_those_of_their_pixels() -> None:
    box = (13, 6, 37, 20)
    mask = np.zeros((24, 48))
    mask[6:20, 13:37] = 1
    expected = mask.reshape(3, 8, 6, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(shares_inside(box, 48, 24, 3, 6).numpy(), expected, atol=1e-6)
    assert float(shares_inside((-5, -5, 500, 500), 48, 24, 3, 6).min()) == 1


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


@pytest.mark.slow
def test_the_stage_looks_at_whole_photographs_whatever_is_cropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path / "project")
    project.change("region_study.pictures", 1)
    project.dvc("repro", "region_precision@gallery")
    study = json.loads((project.folder / "reports/regions/gallery.json").read_text(encoding="utf-8"))
    assert study["queries"] == 3
    assert set(study["ways"]) == {"squares", "clusters", "clusters with a spatial term", "clusters of colours"}
    for way in study["ways"].values():
        assert len(way["reached"]) == len(THRESHOLDS)
        assert way["reached"][0] == 1
        assert way["reached"] == sorted(way["reached"], reverse=True)
        assert 0 < way["mean"] < 1
    (picture,) = study["pictures"]
    assert np.array(picture["clusters"]).shape == np.array(picture["norms"]).shape == np.array(picture["spatial_clusters"]).shape
    monkeypatch.chdir(project.folder)
    wholes = list(whole_queries("gallery", ResizeParameters(pixels=256, query_crop="image"), 2))
    assert [whole.pixels.shape for whole in wholes] == [(192, 256, 3)] * 2
    assert all(0 <= whole.box[0] < whole.box[2] <= 256 for whole in wholes)
