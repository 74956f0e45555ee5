"""A collection of the small museum: what it answers, from files, with boxes and turned photographs; what it refuses; that asking changes nothing."""

import importlib.util
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pipeline.asking.staleness import differing
from pipeline.contracts.collections import CALIBRATION, current_version, new_version, publish
from pipeline.contracts.running.settings import settings
from pipeline.search.collection import Collection
from pipeline.stage.errors import ImageError, ShardError
from pipeline.stage.fingerprint import file_sha256
from tests import warm_python
from tests.conftest import PROJECT
from tests.end_to_end.asking import answers_as_the_stages_do, query_photographs, stored_queries
from tests.end_to_end.project import Project
from tests.loopback import LoopbackServer
from tests.params_file import written

pytestmark = pytest.mark.slow
UPRIGHT_OF = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""By EXIF orientation: how the pixels of an upright photograph are turned to be stored with it."""


@pytest.fixture(scope="module")
def collection(museum: Project) -> Collection:
    return Collection.open(museum.folder / "data/collection/gallery", "cpu")


def run(project: Project, *arguments: str, standard_input: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    environment = project.environment | {"PYTHONPATH": str(PROJECT)}
    command = [warm_python.for_stages(), "-m", "cli", *arguments]
    return subprocess.run(command, cwd=project.folder, env=environment, input=standard_input, capture_output=True, check=False)


def test_every_query_is_answered_as_the_stages_answer_it(museum: Project) -> None:
    answers_as_the_stages_do(museum)


def test_photographs_turned_by_exif_have_the_same_descriptor(museum: Project, collection: Collection) -> None:
    photograph = next(query_photographs(museum))
    with Image.open(io.BytesIO(photograph.data)) as opened:
        upright = opened.convert("RGB")
    expected = collection.describe(upright, photograph.box)
    np.testing.assert_allclose(expected, stored_queries(museum)[photograph.image_id], atol=1e-6)
    assert np.abs(collection.describe(upright) - expected).max() > 1e-3, "without the box the photograph is another question"
    for orientation, turn in UPRIGHT_OF.items():
        stored, exif, buffer = upright if turn is None else upright.transpose(turn), Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        stored.save(buffer, "PNG", exif=exif)
        np.testing.assert_array_equal(collection.describe(buffer.getvalue(), photograph.box), expected)


def test_photographs_come_as_files_bytes_pictures_and_pixels(museum: Project, collection: Collection, tmp_path: Path) -> None:
    photograph = next(query_photographs(museum))
    file = tmp_path / "photo.jpg"
    file.write_bytes(photograph.data)
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    replies = list(collection.ask_all([file, str(file), photograph.data, picture, np.asarray(picture)], top=3))
    assert len(replies) == 5
    assert len({tuple(found.image_id for found in reply.results) for reply in replies}) == 1
    assert [len(reply.results) for reply in replies] == [3] * 5
    table = replies[0].to_pandas()
    assert list(table["rank"]) == [1, 2, 3]
    assert replies[0].instance is not None
    assert replies[0].instance in replies[0]._repr_html_()
    with Image.open(io.BytesIO(replies[0].results[0].thumbnail)) as small:
        assert max(small.size) <= 240


def test_photographs_that_are_asked_together_are_answered_as_each_alone(museum: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs = {photograph.image_id: photograph for photograph in query_photographs(museum)}
    threads = torch.get_num_threads()
    monkeypatch.setenv("RETRIEVAL_WORKERS", "3")
    settings.cache_clear()
    try:
        own = Collection.open(museum.folder / "data/collection/gallery", "cpu")
        together = list(own.ask_all([photograph.data for photograph in photographs.values()]))
        alone = [own.ask(photograph.data) for photograph in photographs.values()]
        described = {image_id: own.describe(photograph.data, photograph.box) for image_id, photograph in photographs.items()}
    finally:
        torch.set_num_threads(threads)
    assert len(together) == len(alone) == 5
    for one, other in zip(together, alone, strict=True):
        assert [found.image_id for found in one.results] == [found.image_id for found in other.results]
        assert [found.score for found in one.results] == pytest.approx([found.score for found in other.results], abs=1e-6)
    for image_id, stored in stored_queries(museum).items():
        np.testing.assert_allclose(described[image_id], stored, atol=1e-6)


def test_the_command_prints_and_writes_what_was_found_and_changes_nothing(museum: Project, tmp_path: Path) -> None:
    photograph = next(query_photographs(museum))
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    (photographs / "a.jpg").write_bytes(photograph.data)
    (photographs / "b.jpg").write_bytes(b"no picture")
    before = {path: file_sha256(path) for path in sorted((museum.folder / "data").rglob("*")) if path.is_file()}
    page, picture = tmp_path / "answer.html", tmp_path / "answer.png"
    done = run(museum, "ask", str(photographs), "--json", "--top", "4", "--html", str(page), "--png", str(picture))
    assert done.returncode == 1, "a photograph that cannot be read is an error of the whole"
    assert done.stderr.decode().splitlines() == [f"error: {photographs / 'b.jpg'}: not an image that can be decoded"]
    (line,) = done.stdout.decode().splitlines()
    reply = json.loads(line)
    assert [found["rank"] for found in reply["results"]] == [1, 2, 3, 4]
    assert reply["photograph"].endswith("a.jpg")
    assert page.read_text(encoding="utf-8").count("data:image/jpeg;base64") == 5
    with Image.open(picture) as sheet:
        assert sheet.width > sheet.height
    with LoopbackServer() as server:
        server.files["/a.jpg"] = photograph.data
        gone, there = f"{server.url}/gone.jpg", f"{server.url}/a.jpg"
        asked = run(museum, "ask", "-", gone, there, "--url", "--csv", "--top", "1", standard_input=photograph.data)
    assert (asked.returncode, asked.stderr.decode().splitlines()) == (1, [f"error: {gone}: the server answers 404"])
    assert [row.split(",")[:2] for row in asked.stdout.decode().splitlines()[1:]] == [["standard input", "1"], [there, "1"]]
    assert {path: file_sha256(path) for path in sorted((museum.folder / "data").rglob("*")) if path.is_file()} == before


def test_boxes_and_photographs_that_cannot_be_asked_are_refused_by_name(museum: Project, collection: Collection, tmp_path: Path) -> None:
    photograph = next(query_photographs(museum))
    with pytest.raises(ImageError, match="lies outside the image"):
        collection.ask(photograph.data, (9000, 9000, 9100, 9100))
    with pytest.raises(ImageError, match="four edges"):
        collection.ask(photograph.data, (1, 2, 3))
    with pytest.raises(ImageError, match=r"none\.jpg: No such file"):
        collection.ask(tmp_path / "none.jpg")
    for arguments, message in (
        (["http://127.0.0.1:9/a.jpg"], "only with --url"),
        ([str(tmp_path)], "no images in it"),
        (["-", "--collection", "other"], "there are: gallery"),
    ):
        done = run(museum, "ask", *arguments)
        assert done.returncode == 1
        assert message in done.stderr.decode()
        assert done.stderr.decode().count("\n") == 1


def test_a_copy_answers_anywhere_and_a_damaged_one_is_refused(museum: Project, collection: Collection, tmp_path: Path) -> None:
    photograph = next(query_photographs(museum))
    copy = tmp_path / "copy"
    shutil.copytree(collection.version.folder, copy)
    expected = collection.ask(photograph.data).to_dict()
    assert Collection.open(copy, "cpu").ask(photograph.data).to_dict() == expected
    taken = run(museum, "export", str(tmp_path / "taken"), "--collection", str(copy))
    assert (taken.returncode, (tmp_path / "taken/img_emb/img_emb_0.npy").exists()) == (0, True)
    refused = run(museum, "export", str(copy / "rows.npy/inside"), "--collection", str(copy))
    assert (refused.returncode, refused.stderr.decode().count("\n")) == (1, 1)
    assert "Not a directory" in refused.stderr.decode()
    for name in ("rows.npy", "network/weights.safetensors", "calibration.json"):
        whole = (copy / name).read_bytes()
        (copy / name).write_bytes(whole[:-7])
        with pytest.raises(ShardError, match=f"{name}: missing, or not the bytes that were written"):
            Collection.open(copy, "cpu")
        (copy / name).write_bytes(whole)


def test_what_params_yaml_changed_since_is_named(museum: Project, collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(museum.folder)
    assert differing(collection.version) == []
    changed = {"benchmarks.gallery.held_out": "none", "hash.method": "itq", "collection.index": "hnsw", "resize.pixels": 100, "search.top_k": 7}
    changed_file = written(tmp_path, changed, Path("params.yaml"))
    monkeypatch.chdir(changed_file.parent)
    named = ["benchmarks.gallery.held_out", "resize", "hash.method", "collection.index", "search"]
    assert differing(collection.version) == named


def test_what_fails_while_a_collection_is_made_leaves_the_old_one(museum: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", origin=museum)
    photograph = next(query_photographs(museum))
    expected = Collection.open(project.folder / "data/collection/gallery", "cpu").ask(photograph.data).to_dict()
    shutil.copytree(project.folder / "data/collection/gallery", tmp_path / "own")  # the museum's files are held by who asks it
    shutil.rmtree(project.folder / "data/collection/gallery")
    (tmp_path / "own").rename(project.folder / "data/collection/gallery")
    project.change("collection.index", "ivf_pq")
    process = project.stage("collection@gallery")
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "ivf_pq is learned on held-out descriptors, and there are 64 of at least 256" in output
    assert Collection.open(project.folder / "data/collection/gallery", "cpu").ask(photograph.data).to_dict() == expected
    project.change("collection.index", "scalar")
    project.make("collection@gallery")
    scalar = answers_as_the_stages_do(project)
    assert (scalar.facts.index.kind, scalar.facts.index.loss["recall_1"]) == ("scalar", 1.0)
    assert len([path for path in (project.folder / "data/collection/gallery").iterdir() if path.is_dir()]) == 1


def test_a_collection_is_exported_for_other_programs(museum: Project, collection: Collection, tmp_path: Path) -> None:
    import faiss

    for form in ("clip", "faiss"):
        done = run(museum, "export", str(tmp_path / form), "--form", form)
        assert done.returncode == 0, done.stderr
    rows = np.load(tmp_path / "clip/img_emb/img_emb_0.npy")
    metadata = pq.read_table(tmp_path / "clip/metadata/metadata_0.parquet")
    assert rows.shape == (10, 16)
    assert metadata.column("image_id").to_pylist() == collection.images.column("image_id").to_pylist()
    index = faiss.read_index(str(tmp_path / "faiss/index.faiss"))
    assert index.search(rows[3:4], 1)[1].tolist() == [[3]]
    assert pq.read_table(tmp_path / "faiss/metadata.parquet").num_rows == 10
    again = run(museum, "export", str(tmp_path / "clip"))
    assert "is there already" in again.stderr.decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip", "faiss"]


@pytest.mark.parametrize(("form", "package"), [("lancedb", "lancedb"), ("datasets", "datasets")])
def test_exports_that_need_a_package_say_so_or_write_all_rows(museum: Project, tmp_path: Path, form: str, package: str) -> None:
    done = run(museum, "export", str(tmp_path / form), "--form", form)
    if importlib.util.find_spec(package) is None:
        assert done.returncode == 1
        assert f"make extra PACKAGE={package}" in done.stderr.decode()
        assert not list(tmp_path.iterdir())
        return
    assert done.returncode == 0, done.stderr
    if form == "lancedb":
        import lancedb

        table = lancedb.connect(str(tmp_path / form)).open_table("images").to_arrow()
    else:
        import datasets

        table = datasets.load_from_disk(str(tmp_path / form)).data.table
    assert table.num_rows == 10
    assert len(table.column("vector")[0]) == 16


ASKING = """
import sys
from pathlib import Path
from pipeline.contracts.running.settings import settings
from pipeline.search.collection import Collection
folder, photo, stop = map(Path, sys.argv[1:])
while not stop.exists():
    collection = Collection.open(folder, "cpu")
    reply = collection.ask(photo, top=1)
    print(collection.facts.benchmark, collection._unknown.share, reply.results[0].image_id, flush=True)
"""


def test_asked_while_it_is_replaced_it_is_the_old_or_the_new_one(museum: Project, tmp_path: Path) -> None:
    """Versions differ in their facts and in their calibration; a process opens and asks while they follow each other."""
    made = current_version(museum.folder / "data/collection/gallery")
    places, photo, stop = tmp_path / "changing", tmp_path / "photo.jpg", tmp_path / "stop"
    photo.write_bytes(next(query_photographs(museum)).data)

    def replace(name: str, share: float) -> None:
        with new_version(places) as staging:
            shutil.copytree(made.folder, staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
            learned = json.loads((staging / CALIBRATION).read_text(encoding="utf-8"))
            (staging / CALIBRATION).write_text(json.dumps(learned | {"share": share}), encoding="utf-8")
            publish(staging, places, made.facts.model_copy(update={"benchmark": name}))

    versions = [(f"version{turn}", turn / 100) for turn in range(1, 42)]
    replace(*versions[0])
    command = [sys.executable, "-c", ASKING, str(places), str(photo), str(stop)]
    process = subprocess.Popen(
        command, env=museum.environment | {"PYTHONPATH": str(PROJECT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [process.stdout.readline()]
    for version in versions[1:]:
        replace(*version)
    stop.touch()
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    told += rest.splitlines()
    answers = {tuple(line.split()) for line in told}
    assert {(name, float(share)) for name, share, _ in answers} <= set(versions)
    assert len({image_id for *_, image_id in answers}) == 1
    assert len(told) > 3
