"""A folder that grows and shrinks: what is scanned, planned, extracted and learned, the same bytes as from scratch, and what is asked afterwards."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.contracts.descriptors import KIND as DESCRIPTORS
from pipeline.contracts.descriptors import DescriptorFacts
from pipeline.search.collection import Collection
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.manifest import load_manifest
from pipeline.stage.run_record import record_path
from tests.end_to_end.project import Project
from tests.end_to_end.test_collection import run
from tests.pictures import encoded

pytestmark = pytest.mark.slow

MADE = ("raw/mine", "images/mine", "features/mine", "models/mine", "descriptors/mine", "rankings/mine", "collection/mine")


@pytest.fixture(scope="module")
def grown(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a folder of twelve photographs of six instances, in two benchmarks that share held-out set and distractors."""
    folder = tmp_path_factory.mktemp("growth")
    photographs = folder / "photographs"
    for place in range(12):
        path = photographs / f"piece{place // 2}" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(place, 100 + place % 3, 80, "PNG"))
    others = folder / "others"
    others.mkdir()
    for place in range(50, 55):
        (others / f"{place}.png").write_bytes(encoded(place, 90, 80, "PNG"))
    project = Project(folder / "project", flows=True, origin=museum)
    shutil.copytree(museum.folder / ".store", project.folder / ".store")
    project.change("datasets.mine", {"source": "folder", "path": str(photographs)})
    project.change("datasets.others", {"source": "folder", "path": str(others)})
    sets = {"dataset": "mine", "held_out": "gallery", "distractors": "others", "kept_back": 0.25, "allow_self_learning": False}
    project.change("benchmarks.mine", sets)
    project.change("benchmarks.again", sets)
    return project


def produced(project: Project, place: str) -> int:
    """Units that the last run of a stage worked on."""
    return int(json.loads(record_path(project.folder / "data" / place).read_text(encoding="utf-8"))["count"])


def contents(project: Project) -> dict[str, str]:
    data = project.folder / "data"
    files = (path for place in MADE for path in (data / place).rglob("*") if path.is_file() and path.suffix != ".json")
    return {path.relative_to(data).as_posix(): file_sha256(path) for path in sorted(files)}


def test_benchmarks_with_the_same_sets_learn_and_describe_once(grown: Project) -> None:
    done = run(grown, "scan")
    assert done.stdout.decode().splitlines() == [
        "mine: 12 photographs; 12 photographs, not imported yet",
        "others: 5 photographs; 5 photographs, not imported yet",
    ]
    output = grown.dvc("repro", "collection@mine", "aggregate_distractors@again")
    assert output.count("Learned before of the same images.") == 1
    facts = DescriptorFacts.of(load_manifest(grown.folder / "data/descriptors/mine", DESCRIPTORS))
    assert (facts.held_out, facts.kept_back) == (48, 16), "eight of 32 pictures are kept back"
    assert facts.learned_on is not None
    assert facts.learned_on.images == 48
    counts = sorted(produced(grown, f"distractors/{name}") for name in ("mine", "again"))
    assert counts == [0, 5]
    assert produced(grown, "features/mine") == 12
    first, second = (grown.folder / "data/distractors" / name / "distractors-00000.parquet" for name in ("mine", "again"))
    assert file_sha256(first) == file_sha256(second)


def test_one_photograph_more_is_one_extraction_and_the_bytes_are_those_from_scratch(grown: Project, tmp_path: Path) -> None:
    grown.dvc("repro", "collection@mine")
    new = tmp_path / "new.png"
    new.write_bytes(encoded(99, 101, 80, "PNG"))
    added = run(grown, "add", "mine", str(new), "--instance", "piece0")
    assert added.returncode == 0, added.stderr
    assert added.stdout.decode().splitlines() == ["mine: piece0/new.png", "mine: 13 photographs; 1 added"]
    planned = run(grown, "plan", "collection@mine").stdout.decode()
    assert "mine: 1 added" in planned
    ran = grown.repro("collection@mine")
    assert "learn@mine" not in ran, "the held-out set is the same"
    assert "extract@gallery" not in ran
    assert produced(grown, "features/mine") == 1
    collection = Collection.open(grown.folder / "data/collection/mine", "cpu")
    reply = collection.ask(new, top=1)
    assert (reply.results[0].image_id, reply.results[0].instance, len(collection)) == ("piece0/new.png", "piece0", 13)
    assert reply.results[0].score == pytest.approx(1, abs=1e-4)
    from_store = contents(grown)
    shutil.rmtree(grown.folder / ".store")
    grown.make("extract@mine", "aggregate@mine", "collection@mine")
    assert produced(grown, "features/mine") == 13
    assert contents(grown) == from_store


def test_what_was_removed_is_nowhere(grown: Project) -> None:
    grown.dvc("repro", "collection@mine")
    removed = run(grown, "remove", "mine", "piece3/6.png", "piece3/7.png")
    assert removed.returncode == 0, removed.stderr
    assert removed.stdout.decode().splitlines()[-1].endswith("2 removed")
    assert "data/collection/mine: 2 photographs are found no more" in removed.stdout.decode().splitlines()
    at_once = Collection.open(grown.folder / "data/collection/mine", "cpu")
    assert not {"piece3/6.png", "piece3/7.png"} & set(at_once.images.column("image_id").to_pylist())
    assert all(found.instance != "piece3" for found in at_once.ask(encoded(6, 100, 80, "PNG"), top=20).results)
    with pytest.raises(KeyError):
        at_once.thumbnail("piece3/6.png")
    refused = run(grown, "export", str(grown.folder / "exported"), "--collection", "mine")
    assert "2 images were taken out since it was made" in refused.stderr.decode()
    lock = yaml.safe_load((grown.folder / "dvc.lock").read_text(encoding="utf-8"))
    grown.dvc("repro", "collection@mine")
    assert produced(grown, "features/mine") == 0, "the others are in the store"
    assert yaml.safe_load((grown.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]["learn@mine"] == lock["stages"]["learn@mine"]
    collection = Collection.open(grown.folder / "data/collection/mine", "cpu")
    names = collection.images.column("image_id").to_pylist()
    assert not {"piece3/6.png", "piece3/7.png"} & set(names)
    for name in names:
        collection.thumbnail(name)
    with pytest.raises(KeyError):
        collection.thumbnail("piece3/6.png")
    assert all(found.instance != "piece3" for found in collection.ask(encoded(6, 100, 80, "PNG"), top=20).results)


def test_the_store_tells_what_it_saved_and_is_emptied(grown: Project) -> None:
    grown.dvc("repro", "collection@mine")
    told = run(grown, "store")
    assert told.returncode == 0, told.stderr
    assert "feature maps: " in told.stdout.decode()
    assert run(grown, "store", "--clean").stdout.decode().strip().endswith("removed")
    assert not (grown.folder / ".store/store.sqlite").exists()
