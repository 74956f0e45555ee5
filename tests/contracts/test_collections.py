"""Versions of a collection: they appear whole, an unfinished one leaves the old one, a reader that is overtaken opens the new one."""

from pathlib import Path

import pytest

from pipeline.contracts.collections import (
    CATALOGUE,
    POINTER,
    CollectionFacts,
    IndexFacts,
    Version,
    current_version,
    hand_over,
    hold_version,
    new_version,
    open_version,
    publish,
    removed_images,
    take_out,
)
from pipeline.contracts.descriptors import DescriptorFacts, PatchCounts
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.feature_shards import FeatureFacts
from pipeline.contracts.held_out import HeldOutSet
from pipeline.contracts.images.image_shards import ImageFacts
from pipeline.stage.catalogue import CatalogueRow, write_catalogue
from pipeline.stage.checksums import MANIFEST, verify_all
from pipeline.stage.errors import PipelineError, ShardError

FACTS = CollectionFacts(
    benchmark="b",
    dataset="d",
    images=1,
    described=DescriptorFacts(
        database=1,
        queries=0,
        held_out=0,
        kept_back=0,
        patches=PatchCounts(database=None, queries=None),
        zero_descriptors=0,
        dimensions=2,
        method="mac",
        parameters={},
        learned_on=None,
        network_trained_on=[],
        network_overlaps=[],
        held_out_set=HeldOutSet(dataset="h", role="held_out", images=0),
        duplicates=0,
        storage="float32",
        rounding=0.0,
        features=FeatureFacts(
            network=NetworkChoice(name="n"), extract=ExtractParameters(), images=ImageFacts(images=1, unreadable=0, source="folder", resize={})
        ),
    ),
    hashed=None,
    search={},
    index=IndexFacts(kind="flat", candidates=1, loss={}),
)


def written(collection: Path, text: str) -> Version:
    with new_version(collection) as staging:
        (staging / "inside").mkdir()
        (staging / "inside" / "file.txt").write_text(text, encoding="utf-8")
        return publish(staging, collection, FACTS)


def text_of(version: Version) -> str:
    return (version.folder / "inside" / "file.txt").read_text(encoding="utf-8")


def test_the_newest_version_is_in_use_and_alone(tmp_path: Path) -> None:
    for text in ("one", "two", "two", "one"):
        version = written(tmp_path, text)
        assert current_version(tmp_path) == version
        assert text_of(version) == text
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([POINTER, version.folder.name])


def test_an_unfinished_version_leaves_the_old_one(tmp_path: Path) -> None:
    old = written(tmp_path, "one")

    def interrupted() -> None:
        with new_version(tmp_path) as staging:
            (staging / "half").write_text("two", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (tmp_path / ".123.partial").mkdir()  # of a writer that was killed
    assert current_version(tmp_path) == old
    written(tmp_path, "three")
    assert not list(tmp_path.glob(".*"))


def test_two_writers_leave_each_other_alone(tmp_path: Path) -> None:
    with new_version(tmp_path) as slow:
        (slow / "rows").write_text("of the slow one", encoding="utf-8")
        quick = written(tmp_path, "quick")
        assert current_version(tmp_path) == quick
        (slow / "more").write_text("of the slow one", encoding="utf-8")
        version = publish(slow, tmp_path, FACTS)
    assert current_version(tmp_path) == version
    assert {path.name for path in version.folder.iterdir()} == {"rows", "more", MANIFEST}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([POINTER, version.folder.name])


def test_a_reader_that_is_overtaken_opens_the_new_version(tmp_path: Path) -> None:
    written(tmp_path, "one")
    seen: list[str] = []

    def opened(version: Version) -> str:
        seen.append(version.folder.name)
        if len(seen) == 1:
            written(tmp_path, "two")
        return text_of(version)

    assert open_version(tmp_path, opened) == "two"
    assert len(set(seen)) == 2


def test_what_cannot_be_opened_is_tried_once(tmp_path: Path) -> None:
    version = written(tmp_path, "one")
    (version.folder / "inside" / "file.txt").unlink()
    with pytest.raises(FileNotFoundError):
        open_version(tmp_path, text_of)
    with pytest.raises(ShardError, match="no collection; make it with"):
        current_version(tmp_path / "none")


def test_a_version_that_is_held_stays_until_it_is_let_go(tmp_path: Path) -> None:
    old = written(tmp_path, "one")
    with hold_version(old.folder):
        written(tmp_path, "two")
        assert text_of(old) == "one"
    new = written(tmp_path, "three")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([POINTER, new.folder.name])
    with pytest.raises(ShardError, match="is being replaced"):
        hold_version(old.folder)


def test_a_version_is_handed_over_whole_and_held_on_its_own(tmp_path: Path) -> None:
    made, served = tmp_path / "made", tmp_path / "served"
    first = written(made, "one")
    assert hand_over(first, served)
    assert not hand_over(first, served)
    assert text_of(current_version(served)) == "one"
    assert (first.folder / "inside/file.txt").samefile(current_version(served).folder / "inside/file.txt")
    with hold_version(current_version(served).folder):
        second = written(made, "two")
        assert [path.name for path in made.iterdir() if path.is_dir()] == [second.folder.name], "whoever holds a copy does not hold the original"
        assert text_of(current_version(served)) == "one"
    assert hand_over(second, served)
    assert sorted(path.name for path in served.iterdir()) == sorted([POINTER, second.folder.name])


def test_images_are_taken_out_without_writing_the_rest_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_version(tmp_path) as staging:
        (staging / "rows").write_text("many", encoding="utf-8")
        write_catalogue(staging / CATALOGUE, [CatalogueRow(name, f"{name}.jpg", "0", 1, 1, "database", status="ok") for name in "abcd"])
        first = publish(staging, tmp_path, FACTS.model_copy(update={"images": 4}))
    assert removed_images(first.folder) == set()
    assert take_out(tmp_path, {"b", "nobody"}) == 1
    second = current_version(tmp_path)
    assert (second.folder != first.folder, second.facts.images, removed_images(second.folder)) == (True, 3, {"b"})
    verify_all(second.folder)
    assert take_out(tmp_path, {"b"}) == 0
    assert current_version(tmp_path) == second
    assert take_out(tmp_path, {"c", "d"}) == 2
    third = current_version(tmp_path)
    assert (third.facts.images, removed_images(third.folder)) == (1, {"b", "c", "d"})
    monkeypatch.setattr("pipeline.contracts.collections.MOST_REMOVED", 3)
    with pytest.raises(PipelineError, match="more than 3 images would be taken out"):
        take_out(tmp_path, {"a"})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([POINTER, third.folder.name])
