"""Texts that others wrote into YAML and tables: what would run, unfold or be misread is refused or escaped."""

from pathlib import Path

import pytest

from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import read_section
from pipeline.stage.text_tables import markdown, read_csv, write_csv
from pipeline.stage.yaml_text import parse_yaml

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['touch touched']", "line 1: the tag 'tag:yaml.org,2002:python/object/apply:os.system' is not read"),
        (BOMB, r"line 2: an alias \(\*a\) inside a value with an anchor"),
        ("[" * 20000, "line 1: nested more than 20 levels deep"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "line 4: the key 'c' stands twice"),
        ("a: " + "9" * 5000, "digits"),
        ("a: 2024-13-01", "month must be in"),
        ("a: [1", "did not find expected"),
    ],
)
def test_yaml_that_is_not_plain_is_refused_by_line(workplace: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)
    Path("params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError, match=r"params\.yaml: not valid YAML: "):
        read_section("")
    assert not Path("touched").exists()


def test_plain_yaml_is_read_as_dvc_reads_it() -> None:
    assert parse_yaml("a: &x {b: 1e-05}\nc: *x\nd: [1, x, null]") == {"a": {"b": 1e-05}, "c": {"b": 1e-05}, "d": [1, "x", None]}


def test_parameters_of_another_encoding_are_refused(workplace: Path) -> None:
    Path("params.yaml").write_bytes("a: Schlo\xdf\n".encode("latin-1"))
    with pytest.raises(ParameterError, match=r"params\.yaml: not UTF-8 text"):
        read_section("a")


def test_no_cell_of_a_table_is_a_formula_and_each_comes_back_as_it_was(workplace: Path) -> None:
    cells = ["=1+1", "+x", "-x", "@x", "\tx", "'=x", "''-x", "'x", "-0.5", "+3", "1e-3", "plain", ""]
    write_csv(Path("table.csv"), ["cell", "number"], [{"cell": cell, "number": -1.5} for cell in cells])
    written = [line.partition(",")[0] for line in Path("table.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert written[:5] == ["'=1+1", "'+x", "'-x", "'@x", "'\tx"]
    assert written[8:12] == ["-0.5", "+3", "1e-3", "plain"]
    assert [row["cell"] for row in read_csv(Path("table.csv"))[1]] == cells
    assert {row["number"] for row in read_csv(Path("table.csv"))[1]} == {"-1.5"}


def test_markdown_keeps_a_cell_in_its_place() -> None:
    assert markdown(["a"], [["x|y\nz"]]).splitlines()[2] == "| x\\|y z |"
    assert "<script>" not in markdown(["a"], [["<script>x</script>"]])
