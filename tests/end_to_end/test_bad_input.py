"""Bad input, as a user meets it: one line on standard error, a non-zero exit, nothing half-written."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.stage.catalogue import read_catalogue
from tests import warm_python
from tests.pictures import encoded, pixels

PARAMS: dict[str, Any] = {
    "datasets": {"mine": {"source": "folder", "path": "in"}},
    "networks": {"net": {"architecture": "efficientnet_lite0", "weights": "package", "sha256": "0" * 64}},
    "resize": {"pixels": 640},
}


@pytest.fixture
def images(workplace: Path) -> Path:
    """A folder with two good images."""
    folder = workplace / "in"
    folder.mkdir()
    for seed in range(2):
        (folder / f"good{seed}.jpg").write_bytes(encoded(seed))
    return folder


def run(*command: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | changes), encoding="utf-8")
    return subprocess.run([warm_python.for_stages(), "-m", *command], capture_output=True, text=True, check=False)


def refused(done: subprocess.CompletedProcess[str], message: str, output: str) -> None:
    """One error line that says `message`; neither `output` nor a partial file is there."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1, done.stderr
    assert len(errors) == 1, done.stderr
    assert message in errors[0]
    assert "Traceback" not in done.stderr
    assert not Path(output).exists()
    assert not [path for path in Path().rglob("*") if path.name.endswith(".partial")]


def prepared(**changes: Any) -> subprocess.CompletedProcess[str]:
    done = run("pipeline.acquisition", "mine", **changes)
    assert done.returncode == 0, done.stderr
    return run("pipeline.imaging", "mine", **changes)


def test_unknown_parameters_and_wrong_types(images: Path) -> None:
    refused(run("pipeline.acquisition", "mine", datasets={"mine": {"source": "folder", "pth": "in"}}), "datasets.mine.pth: unknown parameter", "data")
    refused(run("pipeline.acquisition", "other"), "datasets.other is missing; there is: mine", "data")
    refused(prepared(resize={"pixels": "640"}), "resize.pixels: input should be a valid integer", "data/images")


def test_a_missing_folder_and_an_empty_one(workplace: Path) -> None:
    refused(run("pipeline.acquisition", "mine"), "in: no such folder", "data/raw/mine")
    (workplace / "in").mkdir()
    refused(run("pipeline.acquisition", "mine"), "no images in it", "data/raw/mine")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpg", b"", "the file is empty"),
        ("cut.jpg", encoded(0, 200, 200)[:2000], "truncated"),
        ("text.jpg", b"I am a text, whatever my name says", "not an image that can be decoded"),
        ("thin.png", encoded(0, 30000, 20, "PNG"), "640×1 pixels after resizing"),
    ],
)
def test_broken_images_stop_the_stage_or_are_tolerated_and_recorded(images: Path, name: str, content: bytes, reason: str) -> None:
    (images / name).write_bytes(content)
    strict = {"pixels": 640, "small": "refuse"}
    refused(
        prepared(resize=strict), f"1 of 3 images are unreadable, resize.tolerate allows 0; set it to 1 or take them away: {name}", "data/images/mine"
    )
    done = prepared(resize=strict | {"tolerate": 1})
    assert done.returncode == 0, done.stderr
    rows = {row.path: row for row in read_catalogue(Path("data/images/mine/catalogue.parquet"))}
    assert reason in rows[name].status
    assert sum(row.readable for row in rows.values()) == 2


def test_unusual_images_are_fine(images: Path) -> None:
    (images / "alpha.png").write_bytes(encoded(3, format="PNG", mode="RGBA"))
    (images / "cmyk.jpg").write_bytes(encoded(4, mode="CMYK"))
    (images / "animated.gif").write_bytes(encoded(5, format="GIF", mode="P"))
    Image.fromarray(pixels(6)[..., 0].astype(np.uint16) * 257).save(images / "deep.tiff")
    done = prepared()
    assert done.returncode == 0, done.stderr
    assert all(row.readable for row in read_catalogue(Path("data/images/mine/catalogue.parquet")))


def test_two_images_with_one_id(images: Path) -> None:
    (images / "list.csv").write_text("path,id\ngood0.jpg,x\ngood1.jpg,x\n", encoding="utf-8")
    done = run("pipeline.acquisition", "mine", datasets={"mine": {"source": "folder", "path": "in", "catalogue": "list.csv"}})
    refused(done, "two images have the id 'x'", "data/raw/mine")


def test_a_query_without_positives_is_named_by_validate(images: Path) -> None:
    (images / "list.csv").write_text("path,instance,role\ngood0.jpg,tower,database\ngood1.jpg,bridge,query\n", encoding="utf-8")
    changes = {"datasets": {"mine": {"source": "folder", "path": "in", "catalogue": "list.csv"}}}
    assert prepared(**changes).returncode == 0
    done = run("cli", "validate", "mine", **changes)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "mine: 2 images of 2 instances: 1 in the database, 1 queries, 0 distractors, 0 held out",
        "mine: queries whose instance has no image in the database: 1 (good1.jpg)",
        "mine: query good1.jpg has no positive and will be left out of the mean",
        "mine: 1 problems.",
    ]


def test_validate_looks_at_the_source_before_any_stage_and_after_a_failed_one(images: Path) -> None:
    done = run("cli", "validate", "mine", benchmarks={"b": {"dataset": "mine"}})
    assert done.returncode == 1
    assert "mine: nothing to ask: no image of role query, and no instance with two images of role database" in done.stdout
    done = run("cli", "validate", "mine")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == [
        "mine: 2 images of 0 instances: 2 in the database, 0 queries, 0 distractors, 0 held out",
        "mine: nothing is wrong.",
    ]
    (images / "cut.jpg").write_bytes(encoded(0, 200, 200)[:2000])
    assert prepared().returncode == 1
    done = run("cli", "validate", "mine")
    assert done.returncode == 1
    assert "mine: cut.jpg: unreadable: image file is truncated" in done.stdout


def test_validate_sees_a_folder_that_changed(images: Path) -> None:
    assert prepared().returncode == 0
    assert run("cli", "validate", "mine").returncode == 0
    (images / "good1.jpg").write_bytes(encoded(9))
    done = run("cli", "validate", "mine")
    assert done.returncode == 1
    assert "1 files changed since the import, the first is good1.jpg; run `retrieval repro`" in done.stdout


def test_weights_with_a_wrong_checksum(workplace: Path) -> None:
    refused(run("pipeline.networks", "net"), "expected 0000000", "data/networks/net")


@pytest.fixture
def small_disk(workplace: Path) -> Iterator[Path]:
    """A scratch folder on a disk of one MiB."""
    folder = workplace / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(images: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    for number in range(4):
        Image.fromarray(noise).save(images / f"noise{number}.png")
    assert run("pipeline.acquisition", "mine").returncode == 0
    monkeypatch.setenv("RETRIEVAL_SCRATCH", str(small_disk))
    refused(run("pipeline.imaging", "mine"), "the disk is full while writing", "data/images/mine")
