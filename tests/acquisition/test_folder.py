"""The user's own images: by sub-folders and by CSV, and everything that can be wrong with them."""

import re
from pathlib import Path

import pytest

from pipeline.acquisition.image_list import parse_box
from pipeline.acquisition.params import dataset_from
from pipeline.acquisition.sources import Dataset, Photograph, truth_from_instances
from pipeline.stage.catalogue import CatalogueRow
from pipeline.stage.errors import SourceError
from tests.raw_folders import make_raw


def place(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def folder(**section: object) -> Dataset:
    return dataset_from({"source": "folder", **section}, "datasets.mine", "params.yaml")


def imported(dataset: Dataset, raw: Path) -> list[Photograph]:
    return list(dataset.photographs(make_raw(dataset, raw)))


def test_folders_name_instances_and_roles(workplace: Path) -> None:
    place(workplace / "in", "query/tower/q.jpg", "database/tower/a.JPG", "database/deep/er/b.png", "held_out/h.jpeg", "loose.webp", "notes.txt")
    found = imported(folder(path="in"), workplace / "raw")
    assert [(photo.image_id, photo.role, photo.instance) for photo in found] == [
        ("database/deep/er/b.png", "database", "deep/er"),
        ("database/tower/a.JPG", "database", "tower"),
        ("held_out/h.jpeg", "held_out", None),
        ("loose.webp", "database", None),
        ("query/tower/q.jpg", "query", "tower"),
    ]
    assert found[0].data == b"database/deep/er/b.png"


def test_the_import_depends_on_bytes_alone(workplace: Path) -> None:
    import os

    place(workplace / "in", "x/b.jpg", "x/a.jpg")
    imported(folder(path="in"), workplace / "one")
    os.utime(workplace / "in/x/a.jpg", (1, 1))
    imported(folder(path=str(workplace / "in")), workplace / "two")
    for name in ("part-00000.tar", "part-00000.csv"):
        assert (workplace / "one" / name).read_bytes() == (workplace / "two" / name).read_bytes()


def test_a_csv_decides(workplace: Path) -> None:
    place(workplace / "in", "b.jpg", "a.jpg", "unused.jpg")
    (workplace / "in/list.csv").write_text(
        'path,instance,role,box,id\nb.jpg,t,query,"1,2,3,4",q1\nb.jpg,t,query,5 6 7 8,q2\na.jpg,t,,,\n', encoding="utf-8"
    )
    found = imported(folder(path="in", catalogue="list.csv"), workplace / "raw")
    assert [(photo.image_id, photo.role, photo.box) for photo in found] == [
        ("a.jpg", "database", None),
        ("q1", "query", (1.0, 2.0, 3.0, 4.0)),
        ("q2", "query", (5.0, 6.0, 7.0, 8.0)),
    ]
    assert folder(path="in", catalogue="list.csv").expected(workplace / "raw") == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("instance\nx\n", "list.csv:1: columns are instance; a column `path` is needed"),
        ("path;instance;Instance\na.jpg;x;y\n", "list.csv:1: the column 'instance' stands twice"),
        ("path,instance\na.jpg,x,more\n", "list.csv:2: 3 cells; expected 2"),
        ('path,instance\n"a.jpg,x\n', "list.csv:2: not a row of a table .*close every quote"),
        ("path,instance\na.jpg,x\0y\n", "list.csv:2: a NUL character"),
        (f"path,instance\na.jpg,{'x' * 200000}\n", "list.csv:2: the cell of instance has 200000 characters; at most 1000"),
        ("path\n\n,\n", "list.csv: no images in it|list.csv:3: 2 cells"),
        ("", "list.csv:1: columns are none"),
        ("path,box\na.jpg,0 0 inf inf\n", "list.csv:2: box '0 0 inf inf'; expected pixels between"),
        ("path,box\na.jpg,0 0 1e300 1e300\n", "expected pixels between"),
        ("path,role\na.jpg,reference\n", r"list\.csv:2: role 'reference'; allowed: database, query"),
        ("path\na.jpg\n./a.jpg\n", r"list\.csv:3: two images have the id 'a.jpg', as in line 2"),
        ("path,box\na.jpg,1 2 3\n", r"list\.csv:2: box '1 2 3'; expected four numbers"),
        ("path,box\na.jpg,5 5 5 9\n", "is empty; expected x0 < x1"),
        ("path\ngone.jpg\n", r"list\.csv:2: gone\.jpg: no such file in in"),
        ("path\n../secret.jpg\n", r"list\.csv:2: \.\./secret\.jpg lies outside in"),
        ("path\n", "no images in it"),
    ],
)
def test_a_csv_that_does_not_fit_is_refused_by_line(workplace: Path, text: str, message: str) -> None:
    place(workplace / "in", "a.jpg")
    place(workplace, "secret.jpg")
    (workplace / "in/list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=message):
        imported(folder(path="in", catalogue="list.csv"), workplace / "raw")


def test_a_list_as_spreadsheets_leave_it_is_read(workplace: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        place(workplace / "in", name)
    text = f"sep=;\r\npath;instance;about;;\r\na.jpg;vase;{'long ' * 400};;\r\nb.jpg;vase;;\r\n"
    (workplace / "in/list.csv").write_bytes(text.encode("utf-8-sig"))
    found = imported(folder(path="in", catalogue="list.csv"), workplace / "raw")
    assert [(photo.image_id, photo.instance) for photo in found] == [("a.jpg", "vase"), ("b.jpg", "vase")]
    assert len(found[0].facts["about"]) > 1000
    (workplace / "in/list.csv").write_text("sep=;\npath;role\na.jpg;reference\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"list\.csv:3: role 'reference'"):
        imported(folder(path="in", catalogue="list.csv"), workplace / "again")


@pytest.mark.parametrize(
    ("named", "there"), [("Schlo\u00df M\u00fcller.jpg", "Schlo\u00df Mu\u0308ller.jpg"), ("sub\\b.jpg", "sub/b.jpg"), ("A.JPG", "a.jpg")]
)
def test_a_path_that_only_looks_like_a_files_is_told(workplace: Path, named: str, there: str) -> None:
    place(workplace / "in", there)
    (workplace / "in/list.csv").write_text(f"path\n{named}\n", encoding="utf-8")
    with pytest.raises(SourceError, match=re.escape(f"there is {there!r}, which differs in its characters")):
        imported(folder(path="in", catalogue="list.csv"), workplace / "raw")


def test_folders_that_look_like_roles_are_doubted_where_folders_decide(workplace: Path) -> None:
    for name in ("queries/a.jpg", "vase/b.jpg"):
        place(workplace / "in", name)
    (workplace / "in/list.csv").write_text("path\nqueries/a.jpg\nvase/b.jpg\n", encoding="utf-8")
    assert any("name it query if that is meant" in line for line in folder(path="in").summary())
    assert not any("name it query" in line for line in folder(path="in", catalogue="list.csv").summary())


def test_instances_that_are_no_objects_are_refused_before_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.acquisition.sources.MOST_PAIRS", 100)
    rows = [row(f"{name}{number}", "database", name) for name in ("2023", "vase") for number in range(7)]
    assert len(truth_from_instances(rows).rows) == 98
    with pytest.raises(SourceError, match="113 pairs, most of them of the instance '2023'; at most 100 are held"):
        truth_from_instances([*rows, row("more", "database", "2023")])


def test_missing_and_empty_folders(workplace: Path) -> None:
    with pytest.raises(SourceError, match="gone: no such folder"):
        imported(folder(path="gone"), workplace / "raw")
    place(workplace / "in", "readme.txt")
    with pytest.raises(SourceError, match="no images in it; expected files ending in"):
        imported(folder(path="in"), workplace / "raw")


def test_boxes() -> None:
    assert parse_box("", "here") is None
    assert parse_box("1.5, 2,3 4", "here") == (1.5, 2.0, 3.0, 4.0)


def row(image_id: str, role: str, instance: str | None, status: str = "ok") -> CatalogueRow:
    return CatalogueRow(image_id, image_id, "", 1, 1, role, instance, status=status)


def test_positives_are_the_readable_database_images_of_the_instance() -> None:
    rows = [
        row("a", "database", "t"),
        row("b", "database", "t", "unreadable: x"),
        row("c", "database", "u"),
        row("q", "query", "t"),
        row("r", "query", "v"),
    ]
    truth = truth_from_instances(rows)
    assert truth.queries == ("q", "r")
    assert truth.rows == (("q", "a", "good"),)


def test_a_query_that_cannot_be_read_stays_the_query() -> None:
    """Roles decide: the set does not turn into one in which every image asks for its siblings."""
    rows = [row("a", "database", "t"), row("b", "database", "t"), row("q", "query", "t", "unreadable: cut")]
    truth = truth_from_instances(rows)
    assert truth.queries == ("q",)
    assert truth.rows == (("q", "a", "good"), ("q", "b", "good"))


def test_without_queries_each_image_asks_for_its_siblings() -> None:
    rows = [row("a", "database", "t"), row("b", "database", "t"), row("c", "database", "u"), row("d", "database", None)]
    truth = truth_from_instances(rows)
    assert truth.queries == ("a", "b")
    assert set(truth.rows) == {("a", "a", "junk"), ("a", "b", "good"), ("b", "a", "good"), ("b", "b", "junk")}
