"""Photographs added to a folder and removed from it: places, ids that are not used twice, lists, and what is refused before anything moves."""

from pathlib import Path

import pytest
import yaml

from pipeline.acquisition.folder_edits import add_photographs, remove_photographs
from pipeline.acquisition.image_list import read_image_list
from pipeline.stage.errors import ParameterError, SourceError
from tests.pictures import encoded


@pytest.fixture
def museum(workplace: Path) -> Path:
    root = workplace / "photographs"
    for place in range(4):
        path = root / f"piece{place // 2}" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(place))
    use(root)
    for place in range(4, 8):
        (workplace / f"new{place}.png").write_bytes(encoded(place))
    return root


def use(root: Path, catalogue: str | None = None) -> None:
    datasets = {"mine": {"source": "folder", "path": str(root), "catalogue": catalogue}, "gallery": {"source": "gallery"}}
    Path("params.yaml").write_text(yaml.safe_dump({"datasets": datasets}), encoding="utf-8")


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_added_removed_and_added_again_no_id_is_used_twice(museum: Path) -> None:
    before = files(museum)
    assert add_photographs("mine", [Path("new4.png"), Path("new5.png")], "piece0") == ["piece0/new4.png", "piece0/new5.png"]
    Path("new6.png").rename("new4.png")
    assert add_photographs("mine", [Path("new4.png")], "piece0") == ["piece0/new4-2.png"]
    home = remove_photographs("mine", ["piece0/new4.png", "piece0/new4-2.png", "piece0/new5.png"])
    assert [path for path in files(museum) if not path.startswith(".")] == before
    assert [path for path in files(home) if path.endswith(".png")] == ["piece0/new4-2.png", "piece0/new4.png", "piece0/new5.png"]
    assert add_photographs("mine", [Path("new4.png")], "piece0") == ["piece0/new4-3.png"]
    assert (museum / "piece0/new4-3.png").read_bytes() == Path("new4.png").read_bytes()


def test_the_first_photographs_of_an_empty_folder_and_of_an_empty_list(workplace: Path) -> None:
    (workplace / "new.png").write_bytes(encoded(0))
    (workplace / "empty").mkdir()
    use(workplace / "empty")
    assert add_photographs("mine", [Path("new.png")], "vase") == ["vase/new.png"]
    (workplace / "empty/list.csv").write_text("path,instance\n", encoding="utf-8")
    (workplace / "new.png").write_bytes(encoded(1))
    use(workplace / "empty", "list.csv")
    assert add_photographs("mine", [Path("new.png")], "vase") == ["vase/new-2.png"]
    assert [record["path"] for _, record in read_image_list(workplace / "empty/list.csv")] == ["vase/new-2.png"]


def test_a_cell_with_a_carriage_return_and_the_line_of_a_spreadsheet_stay(museum: Path) -> None:
    (museum / "list.csv").write_bytes(b'sep=;\npath;note\npiece0/0.png;"one\rtwo"\npiece0/1.png;x\n')
    use(museum, "list.csv")
    add_photographs("mine", [Path("new4.png")], "neu")
    assert (museum / "list.csv").read_bytes().startswith(b"sep=;\npath;note;instance\n")
    remove_photographs("mine", ["piece0/1.png"])
    found = [(record["id"], record["facts"]) for _, record in read_image_list(museum / "list.csv")]
    assert found == [("piece0/0.png", '{"note": "one\\rtwo"}'), ("neu/new4.png", "")]


def test_rows_of_a_list_with_empty_columns_at_the_right_stay_a_table(museum: Path) -> None:
    (museum / "list.csv").write_text("path;instance;;\npiece0/0.png;a\npiece0/1.png;b;;\n", encoding="utf-8")
    use(museum, "list.csv")
    assert add_photographs("mine", [Path("new4.png")], "query", "query") == ["query/new4.png"]
    found = [(record["path"], record["instance"], record["role"]) for _, record in read_image_list(museum / "list.csv")]
    assert found == [("piece0/0.png", "a", "database"), ("piece0/1.png", "b", "database"), ("query/new4.png", "query", "query")]


def test_roles_are_top_folders(museum: Path) -> None:
    assert add_photographs("mine", [Path("new4.png")], "a/b", "query") == ["query/a/b/new4.png"]
    (museum / "database").mkdir()
    assert add_photographs("mine", [Path("new5.png")], "c") == ["database/c/new5.png"]


@pytest.mark.parametrize(("separator", "encoding", "end"), [(",", "utf-8", "\n"), (";", "utf-8-sig", "\r\n"), ("\t", "utf-16", "\n")])
def test_rows_of_a_list_follow_in_its_own_form(museum: Path, separator: str, encoding: str, end: str) -> None:
    rows = [["Path", "instance", "note"], ["piece0/0.png", "häuser", "a, b"], ["piece0/1.png", "häuser", ""]]
    quoted = end.join(separator.join(f'"{cell}"' for cell in row) for row in rows)
    (museum / "list.csv").write_bytes(quoted.encode(encoding))
    use(museum, "list.csv")
    add_photographs("mine", [Path("new4.png")], "neu", "query")
    found = {record["id"]: (record["instance"], record["role"], record["facts"]) for _, record in read_image_list(museum / "list.csv")}
    assert found == {
        "piece0/0.png": ("häuser", "database", '{"note": "a, b"}'),
        "piece0/1.png": ("häuser", "database", ""),
        "neu/new4.png": ("neu", "query", ""),
    }, "the column `role` is added"
    remove_photographs("mine", ["piece0/0.png", "neu/new4.png"])
    assert [record["id"] for _, record in read_image_list(museum / "list.csv")] == ["piece0/1.png"]
    assert (museum / "list.csv").read_bytes().decode(encoding).count(end) == 2


def test_what_cannot_be_added_or_removed_leaves_everything_as_it_was(museum: Path) -> None:
    before = files(museum)
    Path("text.txt").write_text("no photograph", encoding="utf-8")
    Path("same.png").write_bytes((museum / "piece1/2.png").read_bytes())
    for wrong, message in (
        (Path("text.txt"), "no photograph by its ending"),
        (Path("same.png"), "the data set has it already, as piece1/2.png"),
        (Path("missing.png"), "no such file"),
    ):
        with pytest.raises(SourceError, match=message):
            add_photographs("mine", [Path("new4.png"), wrong], "piece0")
    for instance in ("../out", "/root", ".hidden"):
        with pytest.raises(ParameterError, match="is no name of a folder"):
            add_photographs("mine", [Path("new4.png")], instance)
    with pytest.raises(ParameterError, match="a folder 'query' at the top holds photographs of that role; use --role query"):
        add_photographs("mine", [Path("new4.png")], "query/cups")
    with pytest.raises(ParameterError, match="there are: database, query, distractor, held_out"):
        add_photographs("mine", [Path("new4.png")], "a", "queries")
    with pytest.raises(ParameterError, match="its source is gallery"):
        add_photographs("gallery", [Path("new4.png")])
    with pytest.raises(SourceError, match=r"no photograph has the id 'piece9/9\.png'"):
        remove_photographs("mine", ["piece0/0.png", "piece9/9.png"])
    assert files(museum) == before


@pytest.mark.parametrize("listed", [False, True])
def test_a_removal_that_died_half_way_is_repeated(museum: Path, monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    gone = ["piece0/0.png", "piece0/1.png", "piece1/2.png"]
    if listed:
        named = [*gone, "piece1/3.png"]
        (museum / "list.csv").write_text("path,id\n" + "".join(f"{path},{path[-5:]}\n" for path in named), encoding="utf-8")
        use(museum, "list.csv")
    ids = [path[-5:] for path in gone] if listed else gone
    unlink, gone_already = Path.unlink, list[Path]()

    def dies(path: Path, missing_ok: bool = False) -> None:
        if not missing_ok:
            if gone_already:
                raise KeyboardInterrupt
            gone_already.append(path)
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", dies)
        with pytest.raises(KeyboardInterrupt):
            remove_photographs("mine", ids)
    home = remove_photographs("mine", ids)
    assert [path for path in files(home) if path.endswith(".png")] == gone
    assert [path for path in files(museum) if path.endswith(".png") and not path.startswith(".")] == ["piece1/3.png"]
    if listed:
        assert [record["path"] for _, record in read_image_list(museum / "list.csv")] == ["piece1/3.png"]
