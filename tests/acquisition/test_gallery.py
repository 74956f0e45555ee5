"""The embedded museum: deterministic bytes, distinct instances, boxes around what is seen."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.acquisition.gallery_pictures import BENCHMARK_PHOTOGRAPHS, HELD_OUT_PHOTOGRAPHS, pictures
from pipeline.acquisition.gallery_rooms import HEIGHT, WIDTH, Dice, photograph
from pipeline.acquisition.params import dataset_from
from pipeline.stage.fingerprint import file_sha256
from tests.conftest import PROJECT
from tests.raw_folders import make_raw

DIGEST = "c037e6b193b07b4bbd9a09dcf44ec8fbcd7dd1dbfd0ec63093f78530604121d9"
"""Of the photographs that `make` makes; it changes with the pictures, with Pillow's JPEG encoder, and with nothing else."""


def make(folder: Path, **section: object) -> Path:
    parameters = {"source": "gallery", "instances": 3, "references": 2, "queries": 1, "held_out": 1, **section}
    return make_raw(dataset_from(parameters, "datasets.g", "params.yaml"), folder) / "part-00000.tar"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three instances, as `make` makes them."""
    return make(tmp_path_factory.mktemp("gallery") / "raw").parent


@pytest.mark.slow
def test_bytes_depend_on_the_seed(made: Path, tmp_path: Path) -> None:
    assert file_sha256(make(tmp_path / "other", seed=1)) != file_sha256(made / "part-00000.tar")


@pytest.mark.slow
def test_bytes_are_the_same_on_every_processor(made: Path, tmp_path: Path) -> None:
    """Here, and as on a processor that has none of the instructions that NumPy and the JPEG library would choose."""
    assert file_sha256(made / "part-00000.tar") == DIGEST
    code = "import sys; from pathlib import Path; from tests.acquisition.test_gallery import make; make(Path(sys.argv[1]))"
    features = "AVX512F AVX512CD AVX512_SKX AVX2 FMA3 AVX F16C POPCNT SSE42 SSE41 SSSE3 X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
    plain = {"NPY_DISABLE_CPU_FEATURES": features, "JSIMD_FORCENONE": "1", "OPENBLAS_CORETYPE": "Prescott"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "plain")], env=os.environ | plain, cwd=PROJECT, check=True)
    assert file_sha256(tmp_path / "plain/part-00000.tar") == DIGEST


def test_roles_and_counts(made: Path) -> None:
    dataset = dataset_from({"source": "gallery", "instances": 3}, "datasets.g", "params.yaml")
    photographs = list(dataset.photographs(made))
    counts = {role: sum(photo.role == role for photo in photographs) for role in ("database", "query", "held_out")}
    assert counts == {"database": 6, "query": 3, "held_out": 32}
    assert len({photo.image_id for photo in photographs}) == len(photographs)
    assert all((photo.box is not None) == (photo.role in ("database", "query")) for photo in photographs)


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
