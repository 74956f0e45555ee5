"""Scanning folders: records, what differs from the last import, files that are read only where they changed, sources without a folder."""

import json
import os
from pathlib import Path

import pytest
import yaml

from pipeline.acquisition import source_scan
from pipeline.acquisition.__main__ import main as download
from pipeline.acquisition.source_scan import Scanned, scan_sources
from pipeline.stage.errors import ParameterError, SourceError
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.source_records import ensure_source_records
from tests.pictures import encoded

OLD = 1_600_000_000


@pytest.fixture
def museum(workplace: Path) -> Path:
    """Six photographs of three instances that were changed long ago, named by params.yaml."""
    root = workplace / "photographs"
    for place in range(6):
        write(root / f"piece{place // 2}" / f"{place}.png", place)
    datasets = {"mine": {"source": "folder", "path": str(root)}, "none": {"source": "none"}}
    (workplace / "params.yaml").write_text(yaml.safe_dump({"datasets": datasets}), encoding="utf-8")
    return root


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(seed))
    os.utime(path, (OLD, OLD))


def scanned() -> Scanned:
    (found,) = scan_sources()
    return found


def record() -> dict[str, object]:
    content: dict[str, object] = json.loads(Path("data/sources/mine.json").read_text(encoding="utf-8"))
    return content


def test_an_edit_that_keeps_size_and_time_is_seen(museum: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_scan, "SETTLED", -(10**9))  # what was just written counts as settled
    download(["mine"])
    assert not scanned().difference
    path = museum / "piece0/0.png"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))
    assert scanned().difference == "1 changed"
    download(["mine"])
    assert not scanned().difference


def test_records_name_every_source_and_count_folders(museum: Path) -> None:
    ensure_source_records({"mine": {"source": "folder"}, "none": {"source": "none"}})
    assert record() == {"source": "folder"}, "nobody has looked yet"
    assert scanned().difference == "6 photographs, not imported yet"
    assert json.loads(Path("data/sources/none.json").read_text(encoding="utf-8")) == {"source": "none"}
    own = record()
    assert (own["files"], own["bytes"]) == (6, sum(path.stat().st_size for path in museum.rglob("*.png")))
    Path("data/sources/gone.json").write_text("{}", encoding="utf-8")
    scan_sources()
    assert record() == own
    assert not Path("data/sources/gone.json").exists()
    with pytest.raises(ParameterError, match=r"datasets\.other"):
        scan_sources(["other"])


def test_an_import_is_of_what_was_recorded(museum: Path) -> None:
    """Else DVC keeps what was imported as made from that record."""
    scanned()
    write(museum / "piece0" / "late.png", 11)
    with pytest.raises(SourceError, match=r"data/sources/mine\.json: the folder has changed since it was recorded; run `retrieval scan mine`"):
        download(["mine"])
    assert not Path("data/raw/mine").exists()
    scanned()
    download(["mine"])
    assert scanned().difference == ""


def test_differences_are_against_the_last_import(museum: Path) -> None:
    before = scanned()
    download(["mine"])
    assert (scanned().difference, before.files) == ("", 6)
    same = record()
    write(museum / "piece3" / "new.png", 9)
    write(museum / "piece3" / "newer.png", 10)
    (museum / "piece0" / "0.png").unlink()
    write(museum / "piece1" / "2.png", 11)
    os.utime(museum / "piece1" / "2.png", (OLD + 1, OLD + 1))
    assert scanned().difference == "2 added, 1 removed, 1 changed"
    assert record()["digest"] != same["digest"]
    download(["mine"])
    assert scanned().difference == ""
    (museum / "piece2").rename(museum / "other name")
    assert scanned().difference == "2 added, 2 removed", "the path is the id"


def test_a_list_that_gives_other_roles_is_another_content(museum: Path) -> None:
    text = "path,instance,role\npiece0/0.png,a,database\npiece0/1.png,a,query\n"
    (museum / "list.csv").write_text(text, encoding="utf-8")
    datasets = {"mine": {"source": "folder", "path": str(museum), "catalogue": "list.csv"}}
    Path("params.yaml").write_text(yaml.safe_dump({"datasets": datasets}), encoding="utf-8")
    scanned()
    download(["mine"])
    assert scanned().difference == ""
    (museum / "list.csv").write_text(text.replace("query", "held_out"), encoding="utf-8")
    assert scanned().difference == "other roles, instances or boxes"


def test_files_are_read_again_only_where_size_or_time_changed(museum: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(source_scan, "file_sha256", counted)
    monkeypatch.setattr(source_scan, "SETTLED", -(10**12))  # the photographs were written long ago
    first = scanned()
    assert sorted(read) == [f"{place}.png" for place in range(6)]
    read.clear()
    assert scanned() == first
    assert read == []
    monkeypatch.undo()
    monkeypatch.chdir(museum.parent)
    monkeypatch.setattr(source_scan, "file_sha256", counted)
    (museum / "piece0" / "0.png").write_bytes(encoded(20))
    others_settled = (museum / "piece0" / "0.png").stat().st_ctime_ns
    monkeypatch.setattr("time.time_ns", lambda: others_settled + source_scan.SETTLED)
    scanned()
    scanned()
    assert read == ["0.png", "0.png"], "a file that was changed a moment ago may change again without a new time"
    read.clear()
    Path(".scratch/scans/mine.json").write_text("{damaged", encoding="utf-8")
    assert scanned().files == 6
    assert len(read) == 6
