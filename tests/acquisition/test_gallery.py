"""The embedded museum: deterministic bytes, distinct instances, boxes around what is seen."""

from pathlib import Path

import numpy as np

from pipeline.acquisition.gallery_pictures import BENCHMARK_PHOTOGRAPHS, HELD_OUT_PHOTOGRAPHS, pictures
from pipeline.acquisition.gallery_rooms import HEIGHT, WIDTH, Dice, photograph
from pipeline.acquisition.params import dataset_from
from pipeline.stage.fingerprint import file_sha256


def make(folder: Path, workers: str, **section: object) -> Path:
    folder.mkdir()
    dataset_from({"source": "gallery", "instances": 3, "references": 2, "queries": 1, "held_out": 1, **section}, "datasets.g", "params.yaml").make(
        folder
    )
    return folder / "images.tar"


def test_bytes_depend_on_the_seed_alone(tmp_path: Path) -> None:
    one, two, other = make(tmp_path / "1", "1"), make(tmp_path / "2", "2"), make(tmp_path / "3", "1", seed=1)
    assert file_sha256(one) == file_sha256(two) != file_sha256(other)


def test_roles_and_counts(tmp_path: Path) -> None:
    make(tmp_path / "raw", "1")
    dataset = dataset_from({"source": "gallery", "instances": 3}, "datasets.g", "params.yaml")
    photographs = list(dataset.photographs(tmp_path / "raw"))
    counts = {role: sum(photo.role == role for photo in photographs) for role in ("database", "query", "held_out")}
    assert counts == {"database": 6, "query": 3, "held_out": 32}
    assert len({photo.image_id for photo in photographs}) == len(photographs)
    assert all((photo.box is not None) == (photo.role == "query") for photo in photographs)


def test_benchmark_and_held_out_pictures_are_distinct() -> None:
    benchmark, held_out = pictures(BENCHMARK_PHOTOGRAPHS), pictures(HELD_OUT_PHOTOGRAPHS)
    assert len(benchmark) == 64
    assert len(held_out) == 32
    digests = [picture.tobytes() for picture in (*benchmark.values(), *held_out.values())]
    assert len(set(digests)) == len(digests)


def test_a_photograph_shows_the_picture_inside_its_box() -> None:
    red = np.zeros((256, 256, 3), np.uint8)
    red[..., 0] = 255
    boxes = []
    for seed in range(20):
        photo = photograph(red, Dice(seed))
        x0, y0, x1, y1 = photo.box
        assert 0 <= x0 < x1 <= WIDTH
        assert 0 <= y0 < y1 <= HEIGHT
        boxes.append(photo.box)
        inside = photo.pixels[int(y0) : int(y1), int(x0) : int(x1)].astype(float)
        redness = (inside[..., 0] - inside[..., 1:].mean(axis=-1)).mean()
        assert redness > 15, (seed, redness)
    assert len(set(boxes)) == 20
