"""The store: found again, never wrong, bounded, shared by processes, and forgotten where it is damaged."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.contracts.executors.store import FILE, Store, StoreFacts, digest_of, pack_arrays, unpack_arrays
from tests.conftest import PROJECT

ROOM = 2**24


def key(place: int) -> bytes:
    return digest_of("key", place)


def noise(seed: int, size: int = 20_000) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


def test_what_was_written_is_found_by_kind_and_key(tmp_path: Path) -> None:
    store = Store(tmp_path, ROOM)
    assert store.read("maps", [key(1)]) == {}
    store.write("maps", {key(1): b"one", key(2): b""})
    store.write("models", {key(1): b"other"})
    assert Store(tmp_path, ROOM).read("maps", [key(1), key(2), key(3)]) == {key(1): b"one", key(2): b""}
    assert store.read("models", [key(1)]) == {key(1): b"other"}
    store.write("maps", {key(1): b"new"})
    assert store.read("maps", [key(1)]) == {key(1): b"new"}
    maps, models = store.facts()
    assert (maps.kind, maps.entries, maps.hits, maps.misses) == ("maps", 2, 3, 2)
    assert (models.kind, models.entries, models.hits, models.misses) == ("models", 1, 1, 0)
    assert store.clean_up()[0].endswith(" removed")
    assert (store.facts(), store.read("maps", [key(1)])) == ([], {})


def test_arrays_come_back_as_they_were() -> None:
    arrays: list[npt.NDArray[Any]] = [np.arange(12, dtype=np.float16).reshape(3, 2, 2), np.zeros((1, 0), np.float32)]
    for found, expected in zip(unpack_arrays(pack_arrays(arrays)), arrays, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(unpack_arrays(pack_arrays([transposed]))[0], transposed)


def test_the_limit_is_kept_and_what_was_used_last_stays(tmp_path: Path) -> None:
    store = Store(tmp_path, 500_000)
    for place in range(20):
        store.write("maps", {key(place): noise(place)})
    store.read("maps", [key(0)])
    for place in range(20, 60):
        store.write("maps", {key(place): noise(place)})
        store.read("maps", [key(0)])
    (facts,) = store.facts()
    assert 300_000 < facts.bytes <= 500_000
    assert store.read("maps", [key(0), key(59)]) == {key(0): noise(0), key(59): noise(59)}
    assert store.read("maps", [key(1)]) == {}
    assert (tmp_path / FILE).stat().st_size < 700_000


def test_damaged_entries_are_forgotten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path, ROOM)
    store.write("maps", {key(1): noise(1), key(2): noise(2)})
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE entries SET value = zeroblob(LENGTH(value)) WHERE key = ?", (key(1),))
    assert store.read("maps", [key(1), key(2)]) == {key(2): noise(2)}
    assert "damaged entry of maps" in caplog.text
    store.write("maps", {key(1): noise(1)})
    assert store.read("maps", [key(1)]) == {key(1): noise(1)}


def test_a_damaged_file_is_made_anew_and_a_folder_that_cannot_be_written_is_no_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database at all" * 100)
    store = Store(tmp_path, ROOM)
    assert store.read("maps", [key(1)]) == {}
    store.write("maps", {key(1): b"one"})
    assert store.read("maps", [key(1)]) == {key(1): b"one"}
    (tmp_path / "file").write_text("", encoding="utf-8")
    nowhere = Store(tmp_path / "file" / "store", ROOM)
    nowhere.write("maps", {key(1): b"one"})
    assert nowhere.read("maps", [key(1)]) == {}
    assert "cannot be used" in caplog.text


def test_without_a_limit_nothing_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, 0)
    store.write("maps", {key(1): b"one"})
    assert store.read("maps", [key(1)]) == {}
    assert not (tmp_path / FILE).exists()


WRITER = """
import sys
from pathlib import Path
from typing import Any
from pipeline.contracts.executors.store import Store, digest_of
store = Store(Path(sys.argv[1]), 2**24)
for place in range(50):
    store.write("maps", {digest_of(sys.argv[2], place): sys.argv[2].encode() * 1000})
"""


@pytest.mark.slow
def test_processes_write_at_the_same_time(tmp_path: Path) -> None:
    started = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], cwd=PROJECT) for name in ("a", "b", "c")]
    assert [process.wait() for process in started] == [0, 0, 0]
    found = Store(tmp_path, ROOM).read("maps", [digest_of(name, place) for name in ("a", "b", "c") for place in range(50)])
    assert len(found) == 150
    assert Store(tmp_path, ROOM).facts() == [StoreFacts("maps", 150, Store(tmp_path, ROOM).facts()[0].bytes, 150, 0)]


def test_a_lower_limit_gives_room_back_to_the_disk(tmp_path: Path) -> None:
    Store(tmp_path, 2**22).write("maps", {key(place): noise(place, 200_000) for place in range(15)})
    large = (tmp_path / FILE).stat().st_size
    small = Store(tmp_path, 2**20)
    small.write("maps", {key(99): b"new"})
    assert large > 2 * 2**20 > 1.5 * 2**20 >= (tmp_path / FILE).stat().st_size
    assert small.read("maps", [key(99)]) == {key(99): b"new"}
    assert " on the disk" in small.summary()[-1]
