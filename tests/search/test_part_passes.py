"""A pass made of passes over parts: the results and counts of one pass over all, whoever makes them, and a stopped one goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.contracts.descriptors import DISTRACTORS, KIND, descriptor_columns, descriptor_writer
from pipeline.contracts.executors.executing import Done, Place, Worker
from pipeline.contracts.results import Counts, Results
from pipeline.search import label_counts, part_passes
from pipeline.search.distances import scoring
from pipeline.search.one_pass import search_and_count
from pipeline.search.params import SearchParameters
from pipeline.search.plain_search import DescriptorSearch
from pipeline.stage.manifest import Manifest, describe_parts
from tests.contracts.away import work_away

SHARDS = {"database": [40, 1, 130, 60], "distractors": [200, 90, 33]}
LABELLED = [["database-0", "database-39", "database-230"], [], ["database-170", "none"], [f"database-{place}" for place in range(0, 231, 7)]]
Rows = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def folders(place: Path, rows: Rows) -> tuple[Path, Path]:
    """Descriptors and distractors in shards of their numbers of images."""
    first = 0
    for kind, (prefix, counts) in zip((KIND, DISTRACTORS), SHARDS.items(), strict=True):
        folder = place / prefix
        folder.mkdir()
        names = [f"{prefix}-{number:05d}.parquet" for number in range(len(counts))]
        offset = 0
        for name, count in zip(names, counts, strict=True):
            with descriptor_writer(folder / name, rows.shape[1]) as writer:
                writer.write(descriptor_columns([f"{prefix}-{offset + number}" for number in range(count)], rows[first : first + count]))
            first, offset = first + count, offset + count
        Manifest(kind, describe_parts(folder, names)).save(folder)
    return place / "database", place / "distractors"


def rows(levels: int | None = None) -> Rows:
    draw = np.random.default_rng(0)
    size = (sum(map(sum, SHARDS.values())), 8)
    return (draw.normal(size=size) if levels is None else draw.integers(0, levels, size)).astype(np.float32)


def searched(place: Path, own: Rows, distance: str | None = None) -> tuple[Results, Counts]:
    """Of four queries, with distractors."""
    search = DescriptorSearch(place / "database", place / "distractors", len(own), SearchParameters(distance=distance), torch.device("cpu"))  # type: ignore[arg-type]
    return search.search(["a", "b", "c", "d"], own[3:300:80], "with_distractors", LABELLED, 50)


def assert_same(found: tuple[Results, Counts], expected: tuple[Results, Counts]) -> None:
    assert found[0] == expected[0]
    assert found[1].pairs == expected[1].pairs
    for own, other in zip(vars(found[1]).values(), vars(expected[1]).values(), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("distance", [None, "l1"])
@pytest.mark.parametrize("images", [1, 100, 300])
def test_parts_give_what_one_pass_gives(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, levels: int | None, distance: str | None, images: int
) -> None:
    """With ties and without; parts end where shards do, and the last may have any number of images."""
    own = rows(levels)
    folders(workplace, own)
    expected = searched(workplace, own, distance)
    assert not (workplace / ".scratch").exists()
    monkeypatch.setattr(part_passes, "PART_IMAGES", images)
    assert_same(searched(workplace, own, distance), expected)
    assert not list((workplace / ".scratch").glob("*"))
    queries = torch.from_numpy(own[3:300:80])
    names = [f"{prefix}-{place}" for prefix, counts in SHARDS.items() for place in range(sum(counts))]
    whole = search_and_count(queries, lambda: iter([(names, own)]), LABELLED, 50, scoring(distance or "dot"))  # type: ignore[arg-type]
    assert whole[0].image_ids == expected[0].image_ids


def test_parts_end_with_shards(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, mixed_in = folders(workplace, rows())
    monkeypatch.setattr(part_passes, "PART_IMAGES", 170)
    shards = [*sorted(own.glob("*.parquet")), *sorted(mixed_in.glob("*.parquet"))]
    parts = part_passes.parts_of(shards)
    assert [(part.place, part.images, len(part.shards)) for part in parts] == [(0, 171, 3), (171, 260, 2), (431, 123, 2)]
    assert [shard for part in parts for shard in part.shards] == shards
    assert part_passes.parts_of([]) == []


def test_a_search_that_was_stopped_goes_on_with_the_parts_that_are_missing(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = rows()
    folders(workplace, own)
    expected = searched(workplace, own)
    monkeypatch.setattr(part_passes, "PART_IMAGES", 100)
    opened, begun = part_passes.Passing.open, list[int]()

    def stopped(self: part_passes.Passing, place: Place) -> Worker:
        worker = opened(self, place)

        def make(task: part_passes.PassTask) -> Done:
            begun.append(task.place)
            if len(begun) == 3:
                raise KeyboardInterrupt
            return worker(task)

        return make

    monkeypatch.setattr(part_passes.Passing, "open", stopped)
    with pytest.raises(KeyboardInterrupt):
        searched(workplace, own)
    assert_same(searched(workplace, own), expected)
    assert begun == [0, 171, 431, 431], "the first two parts are made once"


def test_a_worker_needs_nothing_but_what_is_sent(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = rows()
    folders(workplace, own)
    expected = searched(Path(), own)
    monkeypatch.setattr(part_passes, "PART_IMAGES", 100)
    done = work_away(monkeypatch, workplace / "away")
    assert_same(searched(Path(), own), expected)
    assert len(done) == 3


def test_too_many_near_scores_are_counted_in_passes_of_their_own(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = rows(1) + 1
    folders(workplace, own)
    expected = searched(workplace, own)
    monkeypatch.setattr(part_passes, "PART_IMAGES", 100)
    monkeypatch.setattr(label_counts, "MOST_NEAR", 100)
    assert_same(searched(workplace, own), expected)
