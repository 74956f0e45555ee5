"""Views of squares lie where they should, and the similarities are those of plain products."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError

from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.extraction.inference import FeatureExtractor
from pipeline.networks.__main__ import main as network_stage
from pipeline.networks.registry import load_network
from pipeline.stage.catalogue import CatalogueRow, write_catalogue
from pipeline.studies.params import PatchStudyParameters
from pipeline.studies.patch_similarity import compare, draw, similarities, unrelated_squares
from pipeline.studies.patch_similarity import main as stage
from pipeline.studies.views import SMALLEST, draw_views
from tests.extraction.test_extraction import store_images
from tests.networks.test_networks import random_weights
from tests.pictures import pixels

SCALES, SHIFTS = (0.5, 1.0, 2.0), (0.0, 0.25, 0.75)


def coordinates(width: int, height: int) -> np.ndarray:
    """Every pixel says where it lies: its column and row."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, x // 256 + 16 * (y // 256)], axis=2).astype(np.uint8)


def box(view: np.ndarray) -> tuple[int, int, int, int]:
    """Where a view of `coordinates` lies: x0, y0, x1, y1."""
    (x0, y0), (x1, y1) = ((int(p[0]) + 256 * (int(p[2]) % 16), int(p[1]) + 256 * (int(p[2]) // 16)) for p in (view[0, 0], view[-1, -1]))
    return x0, y0, x1 + 1, y1 + 1


@pytest.mark.parametrize("size", [(400, 300), (300, 400), (900, 120), (64, 64)])
def test_scaled_views_keep_the_centre_and_shifted_ones_the_size(size: tuple[int, int]) -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        views = draw_views("a", coordinates(*size), SCALES, SHIFTS, random)
        x0, y0, x1, y1 = box(views.square)
        side = x1 - x0
        assert side == y1 - y0 == int(min(size) / 2.25)
        for scale, view in zip(SCALES, views.scaled, strict=True):
            a0, b0, a1, b1 = box(view)
            assert a1 - a0 == b1 - b0 == round(scale * side)
            assert abs((a0 + a1) - (x0 + x1)) <= 2
            assert abs((b0 + b1) - (y0 + y1)) <= 2
        for shift, view in zip(SHIFTS, views.shifted, strict=True):
            a0, b0, a1, b1 = box(view)
            assert a1 - a0 == b1 - b0 == side
            assert sorted([abs(a0 - x0), abs(b0 - y0)]) == pytest.approx([0, shift * side], abs=1)


def test_unrelated_squares_show_something_else() -> None:
    assert unrelated_squares(["a", "a", "b", "c", "c"]) == [2, 2, 3, 0, 0]
    assert unrelated_squares(["a", "b"]) == [1, 0]


def gallery_of(folder: Path, sizes: list[tuple[int, int]], instances: list[str | None]) -> Path:
    """A small data/images folder."""
    store_images(folder, sizes)
    rows = [CatalogueRow(f"i{index}", "p", "s", *size, "database", instances[index]) for index, size in enumerate(sizes)]
    write_catalogue(folder / "catalogue.parquet", rows)
    return folder


def test_squares_are_drawn_from_images_that_are_large_enough(tmp_path: Path) -> None:
    smallest = int(2.25 * SMALLEST)
    folder = gallery_of(tmp_path / "x", [(smallest - 1, 300), (smallest, 300), (200, 160), (120, 90)], ["a", "b", "b", None])
    views = draw(folder, PatchStudyParameters(dataset="x", patches=8))
    assert len(views) == 8
    assert {view.shown for view in views} == {"b", "i3"}
    assert all(len(view.square) >= SMALLEST for view in views)


def test_too_few_images_give_an_empty_study(workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    gallery_of(workplace / "data/images/one", [(200, 160), (200, 160)], ["a", "a"])
    sections: dict[str, object] = {"network": {"name": "net", "layers": []}, "patch_study": {"b": {"dataset": "one"}}}
    sections["networks"] = {"net": {"architecture": "efficientnet_lite0", "weights": "package"}}
    (workplace / "params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")
    network_stage(["net"])
    stage(["b"])
    assert "nothing is compared" in caplog.text
    assert json.loads(Path("reports/patch_similarity/b.json").read_text(encoding="utf-8")) == {"squares": 0}


def testsimilarities_are_means_over_the_squares() -> None:
    random = torch.Generator().manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(4, 30, 6, generator=random), dim=2)
    references = torch.nn.functional.normalize(torch.randn(4, 5, 30, 6, generator=random), dim=3)
    found = similarities(queries, references, [2, 0, 3, 1], 2, 3, 2)
    products = torch.einsum("npd,nvmd->nvpm", queries[:, :5], references[:, :, :14]).amax(dim=3).mean(dim=2)
    np.testing.assert_allclose(found["scale"] + found["shift"], products.mean(dim=0), atol=1e-5)
    np.testing.assert_allclose(found["scale_error"] + found["shift_error"], products.std(dim=0) / 2, atol=1e-5)
    others = torch.stack([(queries[n, :5] @ queries[other, :14].T).amax(dim=1).mean() for n, other in enumerate([2, 0, 3, 1])]).mean()
    assert found["unrelated"] == pytest.approx(float(others), abs=1e-5)


def test_an_unchanged_view_is_the_same_and_searching_more_never_finds_less() -> None:
    extractor = FeatureExtractor(
        load_network("squeezenet1_1", random_weights("squeezenet1_1")),
        ExtractParameters(patch_levels=3, patch_sides=(64,), storage="float32"),
        torch.device("cpu"),
    )
    random = np.random.default_rng(1)
    views = [draw_views(f"i{seed}", pixels(seed, 200, 160), SCALES, SHIFTS, random) for seed in range(3)]
    study = compare(views, extractor, PatchStudyParameters(dataset="x", patches=3, levels=3, query_levels=2, side=64, scales=SCALES, shifts=SHIFTS))
    variants = study["variants"]
    assert list(variants) == ["neither", "jittering", "multi-resolution", "multi-resolution and jittering"]
    assert variants["neither"]["scale"][1] == pytest.approx(1, abs=1e-5)
    assert variants["neither"]["shift"][0] == pytest.approx(1, abs=1e-5)
    for kind in ("scale", "shift"):
        assert (np.array(variants["multi-resolution"][kind]) >= np.array(variants["neither"][kind]) - 1e-6).all()
        assert (np.array(variants["multi-resolution and jittering"][kind]) >= np.array(variants["jittering"][kind]) - 1e-6).all()


@pytest.mark.parametrize("section", [{"shifts": [1.0]}, {"shifts": []}, {"scales": [0.0]}, {"levels": 1}])
def test_impossible_studies_are_refused(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PatchStudyParameters.model_validate({"dataset": "x"} | section)
