"""Inverted lists made part by part: the bytes of one index of all, lists on disk that answer alike, parts that are made once."""

import functools
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from pipeline.contracts.collections import LISTS, new_rows
from pipeline.contracts.executors.store import Store
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.search import inverted_lists
from pipeline.search.candidate_index import build_candidate_index, learned_lists, load_index, save_index
from pipeline.search.collection_params import CollectionParameters, IvfPqParameters
from tests.contracts.away import work_away

COUNTS = [130, 0, 1, 700, 469]
PARAMETERS = CollectionParameters(index="ivf_pq", ivf_pq=IvfPqParameters(lists=12, probes=4, code_bytes=8))
Floats = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def drawn(count: int, seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((count, 24)).astype(np.float32)


def written(folder: Path, rows: Floats) -> Path:
    folder.mkdir(exist_ok=True)
    target = new_rows(folder / "rows.npy", rows.shape, rows.dtype)
    target[:] = rows
    target.flush()  # type: ignore[attr-defined]
    return folder / "rows.npy"


@functools.cache
def learned() -> Any:
    """Lists and codes for any rows of 24 dimensions: their number is a parameter."""
    return learned_lists(PARAMETERS, (1300, 24), drawn(600, 9))


def whole_index(rows: Floats) -> Any:
    """The index of adding all rows at once."""
    index = faiss.clone_index(learned())
    index.add(rows)
    return index


def made(folder: Path, rows: Floats, counts: list[int]) -> Any:
    """The index of the rows, made in parts and read again."""
    inverted_lists.write_inverted(
        folder / "index.faiss", faiss.clone_index(learned()), written(folder, rows), counts, ScratchStore("collection-b", "f")
    )
    return load_index(folder / "index.faiss", codes=False)


def kept(kind: str = inverted_lists.PARTS) -> tuple[int, int]:
    """(found, not found) of parts in the store."""
    facts = next(each for each in Store.open().facts() if each.kind == kind)
    return facts.hits, facts.misses


def test_parts_give_the_bytes_of_one_index_of_all(workplace: Path) -> None:
    rows = drawn(1300, 1)
    made(workplace / "parts", rows, COUNTS)
    save_index(build_candidate_index("ivf_pq", PARAMETERS, rows, drawn(600, 9)), workplace / "whole.faiss")
    assert (workplace / "parts/index.faiss").read_bytes() == (workplace / "whole.faiss").read_bytes()
    assert not (workplace / "parts" / LISTS).exists()
    assert not list((workplace / ".scratch").glob("collection-b*"))


@pytest.mark.parametrize("in_memory", [1, 200, 800])
def test_lists_on_disk_answer_like_those_in_memory_wherever_they_lie(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], in_memory: int
) -> None:
    rows, asked = drawn(1300, 1), drawn(40, 2)
    whole = made(workplace / "whole", rows, COUNTS)
    monkeypatch.setattr(inverted_lists, "IN_MEMORY", in_memory)
    made(workplace / "first", rows, COUNTS)
    made(workplace / "second", rows, COUNTS)
    for name in ("index.faiss", LISTS):
        assert (workplace / "first" / name).read_bytes() == (workplace / "second" / name).read_bytes()
    (workplace / "first").rename(workplace / "moved")
    moved = load_index(workplace / "moved/index.faiss", codes=False)
    assert moved.ntotal == 1300
    for own, other in zip(whole.search(asked, 10), moved.search(asked, 10), strict=True):
        np.testing.assert_array_equal(own, other)
    assert "faiss" not in capfd.readouterr().out, "standard output belongs to answers"


def test_as_many_rows_as_fit_in_memory_have_no_lists_of_their_own(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inverted_lists, "IN_MEMORY", 1300)
    made(workplace / "parts", drawn(1300, 1), COUNTS)
    assert not (workplace / "parts" / LISTS).exists()


def test_a_worker_needs_nothing_but_what_is_sent(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = drawn(1300, 1)
    done = work_away(monkeypatch, workplace / "away")
    made(Path("parts"), rows, COUNTS)
    assert len(done) == 4
    save_index(whole_index(rows), workplace / "whole.faiss")
    assert (workplace / "parts/index.faiss").read_bytes() == (workplace / "whole.faiss").read_bytes()


def test_a_row_more_makes_its_part_anew_and_no_other(workplace: Path) -> None:
    rows = drawn(1300, 1)
    made(workplace / "before", rows, COUNTS)
    assert kept() == (0, 4)
    more = np.concatenate([rows[:131], drawn(1, 3), rows[131:]])
    made(workplace / "after", more, [130, 0, 2, 700, 469])
    assert kept() == (3, 5)
    save_index(whole_index(more), workplace / "whole.faiss")
    assert (workplace / "after/index.faiss").read_bytes() == (workplace / "whole.faiss").read_bytes()
