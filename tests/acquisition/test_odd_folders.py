"""Folders as they come from cameras, phones, other systems and mistakes: nothing hangs, nothing merges, nothing is dropped without a word."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.acquisition.folder import Folder, FolderParameters
from pipeline.acquisition.packing import read_records
from pipeline.acquisition.sources import Photograph
from pipeline.stage.errors import SourceError
from tests.raw_folders import describe_raw, make_raw


def place(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def folder(**section: object) -> Folder:
    return Folder(FolderParameters.model_validate({"source": "folder", "path": "in", **section}))


def imported(dataset: Folder) -> list[Photograph]:
    return list(dataset.photographs(make_raw(dataset, Path("raw"))))


@pytest.fixture
def root(workplace: Path) -> Path:
    """A folder with two photographs of one instance."""
    place(workplace / "in", "a/1.jpg", "a/2.jpg")
    return workplace / "in"


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda a: os.mkfifo(a / "x.jpg"), "left out, not a regular file: 1 (a/x.jpg)"),
        (lambda a: (a / "x.jpg").symlink_to("/dev/zero"), "left out, not a regular file: 1 (a/x.jpg)"),
        (lambda a: bind(a / "x.jpg"), "left out, not a regular file: 1 (a/x.jpg)"),
        (lambda a: (a / "x.jpg").symlink_to("/nowhere.jpg"), "left out, a dead or circular link: 1 (a/x.jpg)"),
        (lambda a: (a / "x.jpg").symlink_to("x.jpg"), "left out, a dead or circular link: 1 (a/x.jpg)"),
        (lambda a: (a / "loop").symlink_to(".."), "left out, a link to a folder; set follow_links: true to follow it: 1 (a/loop)"),
        (lambda a: Path(os.fsdecode(os.fsencode(a) + b"/\xff.jpg")).touch(), "left out, a name that is not UTF-8: 1 (a/\\xff.jpg)"),
        (lambda a: [(a / name).touch() for name in ("x.svg", "y.SVG", "z")], "left out, no ending of an image: 3 (2 × .svg, 1 × no ending)"),
        (lambda a: place(a, "._1.jpg", ".git/x.jpg", "__MACOSX/1.jpg", "Thumbs.db"), "left out, hidden or left behind by a system: 4"),
    ],
)
def test_what_is_no_photograph_is_left_out_by_name(root: Path, make: Callable[[Path], object], reason: str) -> None:
    make(root / "a")
    dataset = folder()
    assert [photo.path for photo in imported(dataset)] == ["a/1.jpg", "a/2.jpg"]
    assert dataset.summary() == ["2 images of 1 instances: 2 in the database, 0 queries, 0 distractors, 0 held out", reason]


def test_a_folder_with_the_ending_of_an_image_is_a_folder(root: Path) -> None:
    place(root, "album.jpg/x.jpg")
    assert [photo.instance for photo in imported(folder())] == ["a", "a", "album.jpg"]


def test_links_that_lead_outside_are_refused_unless_they_are_to_be_followed(root: Path) -> None:
    place(root.parent / "elsewhere", "ok.jpg", "deep/other.jpg")
    (root / "a/3.jpg").symlink_to("../../elsewhere/ok.jpg")
    (root / "more").symlink_to("../elsewhere")
    (root / "a/same.jpg").symlink_to("1.jpg")
    with pytest.raises(SourceError, match=r"2 links lead outside the folder: a/3\.jpg, more; remove them, or set `follow_links: true`"):
        folder().summary()
    found = imported(folder(follow_links=True))
    assert [photo.path for photo in found] == ["a/1.jpg", "a/2.jpg", "a/3.jpg", "a/same.jpg", "more/deep/other.jpg", "more/ok.jpg"]


def test_followed_links_end(root: Path) -> None:
    (root / "a/loop").symlink_to("..")
    assert [photo.path for photo in imported(folder(follow_links=True))] == ["a/1.jpg", "a/2.jpg"]


def test_names_that_look_alike_are_kept_apart_and_reported(root: Path) -> None:
    place(root, "Vase/1.jpg", "vase/2.jpg", "Vase /3.jpg", "caf\u00e9/1.jpg", "cafe\u0301/1.jpg", "Raum 2/Uhr/1.jpg", "Raum 3/Uhr/1.jpg")
    dataset = folder()
    assert {photo.instance for photo in imported(dataset)} == {"a", "Vase", "vase", "Vase ", "caf\u00e9", "cafe\u0301", "Raum 2/Uhr", "Raum 3/Uhr"}
    assert dataset.summary()[1:] == [
        "instances that look alike and are kept apart: 'Vase' (1 images), 'Vase ' (1 images), 'vase' (1 images)",
        "instances that look alike and are kept apart: 'cafe\u0301' (1 images), 'caf\u00e9' (1 images)",
    ]


def test_folders_that_sound_like_a_role_are_said_to_be_none(root: Path) -> None:
    place(root, "Query/T/1.jpg", "queries/T/2.jpg", "query/T/3.jpg", "query/4.jpg")
    lines = folder().summary()
    assert "the folder 'Query' is taken for an instance, not for the role query; name it query if that is meant" in lines
    assert "the folder 'queries' is taken for an instance, not for the role query; name it query if that is meant" in lines
    assert "queries without an instance, which nothing can be right for: 1 (query/4.jpg)" in lines
    assert "queries whose instance has no image in the database: 1 (query/T/3.jpg)" in lines


ODD = (
    "a\nb/x\ny.jpg",
    "t\tab/q\"uo'te.jpg",
    "a/c\rr.jpg",
    " b/1.jpg",
    "\u00a0nb/1.jpg",
    "tower /2.jpg",
    "-dash/--x.jpg",
    "a/b\\..\\e.jpg",
    "C:/x.jpg",
    "comma,in/a,b.jpg",
)


def test_names_are_kept_as_they_are(root: Path) -> None:
    place(root, *ODD)
    found = {photo.path: photo for photo in imported(folder())}
    assert set(found) == {*ODD, "a/1.jpg", "a/2.jpg"}
    for path in ODD:
        assert found[path].data == path.encode()
        assert found[path].instance == path.rpartition("/")[0]


def test_a_member_without_a_row_and_a_row_without_a_member_are_errors(root: Path) -> None:
    dataset = folder()
    imported(dataset)
    table = Path("raw/part-00000.csv")
    whole = table.read_text(encoding="utf-8")
    for text, message in (
        ("\n".join(whole.splitlines()[:-1]) + "\n", "member 'a/2.jpg' is not in"),
        (whole + "b,b,,database,\n", "1 images of part-00000.csv are missing"),
    ):
        table.write_text(text.replace("b,b,,database,", "b,b.jpg,,database,"), encoding="utf-8")
        describe_raw(table.parent, ["part-00000.tar", table.name])
        with pytest.raises(SourceError, match=message):
            list(dataset.photographs(Path("raw")))


@pytest.mark.parametrize(
    "data",
    [
        b"path;Instance ;ROLE\na/1.jpg;x;\na/2.jpg;x;query\n",
        b"path\tinstance\trole\na/1.jpg\tx\t\na/2.jpg\tx\tquery\n",
        b"path,instance,role\r\na/1.jpg,x,\r\n\r\n,,\r\na/2.jpg,x,query\r\n",
        b"path,instance,role\ra/1.jpg,x,\ra/2.jpg,x,query\r",
        "\ufeffpath,instance,role\na/1.jpg,x,\na/2.jpg,x,query\n".encode(),
        "path,instance,role\na/1.jpg,x,\na/2.jpg,x,query\n".encode("utf-16"),
    ],
)
def test_lists_from_any_spreadsheet_are_read(root: Path, data: bytes) -> None:
    (root / "list.csv").write_bytes(data)
    found = imported(folder(catalogue="list.csv"))
    assert [(photo.path, photo.instance, photo.role) for photo in found] == [("a/1.jpg", "x", "database"), ("a/2.jpg", "x", "query")]


def test_other_columns_are_kept_and_photographs_that_are_not_listed_are_counted(root: Path) -> None:
    place(root, "b/3.jpg", "b/4.jpg")
    (root / "list.csv").write_text("path,instance,Painter,year\na/1.jpg,x,Klee,1921\na/2.jpg,x,,\n", encoding="utf-8")
    dataset = folder(catalogue="list.csv")
    assert [photo.facts for photo in imported(dataset)] == [{"Painter": "Klee", "year": "1921"}, {}]
    assert "left out, not in list.csv: 2 (b/3.jpg, b/4.jpg)" in dataset.summary()
    assert read_records(Path("raw/part-00000.csv"))[0]["facts"] == '{"Painter": "Klee", "year": "1921"}'


def test_a_missing_list_and_one_of_another_encoding_are_called_so(root: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.csv: no such file"):
        folder(catalogue="gone.csv").summary()
    (root / "list.csv").write_bytes("path,instance\na/1.jpg,Schlo\xdf\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"list\.csv:2: not UTF-8 text; save the list as UTF-8"):
        folder(catalogue="list.csv").summary()
