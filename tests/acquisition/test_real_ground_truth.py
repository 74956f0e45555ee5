"""Ground-truth parsing against the benchmarks' real files, where they are."""

from pathlib import Path

import pytest

from pipeline.acquisition.holidays import group_truth
from pipeline.acquisition.holidays_rotations import ROTATIONS
from pipeline.acquisition.oxford_files import read_mat, read_text_files, truth_of
from pipeline.acquisition.paris6k import Paris6k
from tests.acquisition.archives import tar


@pytest.fixture
def truth_folder(real_data: Path) -> Path:
    return real_data / "groundtruth"


def test_paris6k_text_files(truth_folder: Path) -> None:
    queries = read_text_files(truth_folder / "paris_120310.zip")
    assert len(queries) == 55
    first = next(query for query in queries if query.query_id == "defense_1")
    assert (first.image_id, first.box) == ("paris_defense_000605", (130.0, 17.0, 843.0, 732.0))


def test_paris6k_text_files_agree_with_the_mat_file(truth_folder: Path) -> None:
    """The .mat file leaves out the broken images and the images that are in no list twice."""
    images, queries = read_mat(truth_folder / "gnd_paris6k.mat")
    assert len(images) == 6392
    broken = {Path(path).stem for path in Paris6k.unreadable}
    assert broken.isdisjoint(images)
    positives = {query.image_id: {image for image, kind in query.labels if kind == "ok"} for query in queries}
    for query in read_text_files(truth_folder / "paris_120310.zip"):
        own = {image for image, kind in query.labels if kind in ("good", "ok")} - broken
        assert own == positives[query.image_id], query.query_id


def test_oxford5k_mat_file_and_text_files_made_of_it(truth_folder: Path, tmp_path: Path) -> None:
    images, queries = read_mat(truth_folder / "gnd_oxford5k.mat")
    assert (len(images), len(queries)) == (5063, 55)
    files: dict[str, bytes] = {}
    for number, query in enumerate(queries):
        name = f"{query.query_id}_{number}"
        files[f"{name}_query.txt"] = f"oxc1_{query.image_id} {' '.join(map(str, query.box))}\n".encode()
        files[f"{name}_good.txt"] = b""
        for kind in ("ok", "junk"):
            files[f"{name}_{kind}.txt"] = "\n".join(image for image, own in query.labels if own == kind).encode()
    (tmp_path / "gt.tgz").write_bytes(tar(files))
    read = {query.image_id + str(query.box): set(query.labels) for query in read_text_files(tmp_path / "gt.tgz", "oxc1_")}
    assert read == {query.image_id + str(query.box): set(query.labels) for query in queries}
    truth = truth_of(queries, "oxford", set(images))
    assert len(truth.queries) == 55
    own = [query for query in queries if (query.image_id, "ok") in query.labels]
    assert len(own) == 55, "every query's own image is a positive"


def test_holidays_groups(truth_folder: Path) -> None:
    images, queries = read_mat(truth_folder / "gnd_holidays.mat")
    assert (len(images), len(queries)) == (1491, 500)
    truth = group_truth(images)
    assert list(truth.queries) == [query.image_id for query in queries]
    mine = {(query, image, kind) for query, image, kind in truth.rows}
    theirs = {(query.image_id, image, "good" if kind == "ok" else kind) for query in queries for image, kind in query.labels}
    assert mine == theirs
    assert set(ROTATIONS) <= set(images)
