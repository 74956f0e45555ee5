"""Archives are read as streams, and hostile or damaged ones refused by name."""

from pathlib import Path

import pytest

from pipeline.acquisition.archives import members
from pipeline.acquisition.flickr100k import rar_members
from pipeline.stage.errors import SourceError
from tests.acquisition.archives import rar, tar, zipped

FILES = {"a/one.jpg": b"1", "two.jpg": b"22", "empty": b""}


@pytest.mark.parametrize("content", [tar(FILES), tar(FILES, ""), tar(FILES, "xz"), zipped(FILES)], ids=["gz", "plain", "xz", "zip"])
def test_members_come_in_order(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    assert list(members(tmp_path / "archive")) == list(FILES.items())


def test_rar_members(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(rar(FILES))
    assert list(rar_members(tmp_path / "a.rar")) == list(FILES.items())


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../../x", "..\\x", "C:\\x"])
@pytest.mark.parametrize("make", [tar, zipped], ids=["tar", "zip"])
def test_members_that_leave_the_archive_are_refused(tmp_path: Path, name: str, make: object) -> None:
    assert callable(make)
    (tmp_path / "archive").write_bytes(make({"fine.jpg": b"1", name: b"2"}))
    with pytest.raises(SourceError, match="would leave the archive's folder"):
        list(members(tmp_path / "archive"))
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_hostile_rar_members_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(rar({"../../x": b"1"}))
    with pytest.raises(SourceError, match="would leave"):
        list(rar_members(tmp_path / "a.rar"))


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(tar({}, links={"x.jpg": "/etc/passwd"}))
    with pytest.raises(SourceError, match=r"'x\.jpg' is a link"):
        list(members(tmp_path / "archive"))


@pytest.mark.parametrize(
    "content", [tar(FILES)[:-20], zipped(FILES)[:-10], b"<html>not found</html>", b""], ids=["cut tar", "cut zip", "a page", "empty"]
)
def test_damaged_archives_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(SourceError, match="archive: damaged archive"):
        list(members(tmp_path / "archive"))


def test_damaged_rar_archives_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"<html>not found</html>")
    with pytest.raises(SourceError, match="damaged RAR"):
        list(rar_members(tmp_path / "a.rar"))
