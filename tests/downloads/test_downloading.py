"""Downloads from a real server: resumed, retried, verified, and never half there under the final name."""

from pathlib import Path

import pytest

from pipeline.downloads.downloading import address, download
from pipeline.downloads.remote_file import RemoteFile
from pipeline.stage.errors import SourceError
from tests.loopback import LoopbackServer

CONTENT = bytes(range(256)) * 4096


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRIEVAL_RETRIES", "3")
    monkeypatch.setenv("RETRIEVAL_RETRY_DELAY", "0.01")


def digest() -> str:
    import hashlib

    return hashlib.sha256(CONTENT).hexdigest()


def remote(server: LoopbackServer, **facts: object) -> RemoteFile:
    server.files["/a.bin"] = CONTENT
    return RemoteFile(f"{server.url}/a.bin", "a.bin", **facts)  # type: ignore[arg-type]


def test_a_file_comes_whole_and_is_not_fetched_twice(server: LoopbackServer, tmp_path: Path) -> None:
    file = remote(server, bytes=len(CONTENT), checksum=f"sha256:{digest()}")
    download(file, tmp_path / "a.bin")
    download(file, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_cut_connections_are_resumed_where_they_broke(server: LoopbackServer, tmp_path: Path) -> None:
    file = remote(server, checksum=f"sha256:{digest()[:12]}")
    server.cuts["/a.bin"] = [100_000, 300_000]
    download(file, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [requested for _, requested in server.requests] == [None, "bytes=100000-", "bytes=400000-"]


def test_a_run_that_gave_up_is_gone_on_with_by_the_next(server: LoopbackServer, tmp_path: Path) -> None:
    file = remote(server, checksum=f"sha256:{digest()}")
    server.cuts["/a.bin"] = [1000] * 4
    with pytest.raises(SourceError, match="not downloaded after 4 attempts"):
        download(file, tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()
    download(file, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=4000-"


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: LoopbackServer, tmp_path: Path) -> None:
    file = remote(server)
    server.cuts["/a.bin"] = [1000] * 4
    with pytest.raises(SourceError):
        download(file, tmp_path / "a.bin")
    server.files["/a.bin"] = CONTENT[::-1]
    download(file, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_starts_over(server: LoopbackServer, tmp_path: Path) -> None:
    file = remote(server, checksum=f"sha256:{digest()}")
    server.ranges = False
    server.cuts["/a.bin"] = [5000]
    download(file, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_busy_servers_are_asked_again(server: LoopbackServer, tmp_path: Path) -> None:
    file = remote(server)
    server.statuses["/a.bin"] = [503, 429]
    download(file, tmp_path / "a.bin")
    assert len(server.requests) == 3


def test_a_whole_part_file_needs_no_second_transfer(server: LoopbackServer, tmp_path: Path) -> None:
    file = remote(server, checksum=f"sha256:{digest()}")
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    download(file, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"checksum": "sha256:" + "0" * 64}, "sha256 is .*, expected 0000"),
        ({"checksum": "md5:" + "0" * 32}, "md5 is .*, expected 0000"),
        ({"bytes": 7}, "1048576 bytes came, 7 are published"),
    ],
)
def test_what_is_not_what_was_published_is_removed(server: LoopbackServer, tmp_path: Path, facts: dict[str, object], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        download(remote(server, **facts), tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_asked_for_again(server: LoopbackServer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"/gone\.bin: the server answers 404"):
        download(RemoteFile(f"{server.url}/gone.bin", "gone.bin"), tmp_path / "gone.bin")
    assert len(server.requests) == 1


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="ConnectError"):
        download(RemoteFile("http://127.0.0.1:9/a.bin", "a.bin"), tmp_path / "a.bin")


def test_a_mirror_serves_host_and_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRIEVAL_MIRROR", "http://127.0.0.1:8000/copies/")
    assert address("https://example.com/a/b.tgz") == "http://127.0.0.1:8000/copies/example.com/a/b.tgz"
