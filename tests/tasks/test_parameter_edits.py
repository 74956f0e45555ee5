"""Parameters set from the command line: the values that were named change in the file's text, and nothing else."""

import difflib
from pathlib import Path

import pytest

from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import read_section
from tasks.parameter_edits import apply_overrides
from tests.conftest import PROJECT

TEXT = """\
# all of it
first:   {b: 1, a: [1, 2]}   # as people write
block:
  value: 1  # why
  list:
  - 1
  - 2

  nothing:
  text: "quoted"   # kept
last: ü
"""


@pytest.mark.parametrize(
    ("overrides", "before", "after"),
    [
        (["block.value=2"], "  value: 1  # why", "  value: 2  # why"),
        (["block.value=1e-05"], "  value: 1  # why", "  value: 1.0e-05  # why"),
        (["first.a=[3,4.5]"], "first:   {b: 1, a: [1, 2]}   # as people write", "first:   {b: 1, a: [3, 4.5]}   # as people write"),
        (["+first.c={d:e}"], "first:   {b: 1, a: [1, 2]}   # as people write", "first:   {b: 1, a: [1, 2], c: {d: e}}   # as people write"),
        (["block.nothing=true"], "  nothing:", "  nothing: true"),
        (["block.text=null"], '  text: "quoted"   # kept', "  text: null   # kept"),
        (["block.list=[7]"], "  list:\n  - 1\n  - 2", "  list: [7]"),
        (["+block.more=5"], '  text: "quoted"   # kept', '  text: "quoted"   # kept\n  more: 5'),
        (["~block.value"], "  value: 1  # why\n", ""),
        (["+new.section={a:1}"], "last: ü", "last: ü\nnew: {section: {a: 1}}"),
        (["last=1", "block.value=3"], "value: 1  # why", "value: 3  # why"),
    ],
)
def test_only_the_values_that_are_named_change(tmp_path: Path, overrides: list[str], before: str, after: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(TEXT, encoding="utf-8")
    apply_overrides(file, overrides)
    expected = TEXT.replace(before, after)
    assert file.read_text(encoding="utf-8") == (expected.replace("ü", "1") if "last=1" in overrides else expected)
    assert list(tmp_path.iterdir()) == [file]


def test_one_parameter_is_one_changed_line_of_the_projects_file(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    overrides = "aggregate.method=gem extract.scales=[1.0,0.5] hash.itq.bits=16 search.distance=l2 +mask_study.gallery.dataset=gallery"
    for override in overrides.split():
        file.write_text(text, encoding="utf-8")
        apply_overrides(file, [override])
        changed = [line for line in difflib.ndiff(text.splitlines(), file.read_text(encoding="utf-8").splitlines()) if line[0] in "+-"]
        assert len(changed) == 2, changed
    assert read_section("mask_study.gallery.dataset", file) == "gallery"


@pytest.mark.parametrize("override", ["sektion.value=2", "block.value", "block.value=[1", "~block.other"])
def test_what_does_not_fit_is_refused_and_the_file_kept(tmp_path: Path, override: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(TEXT, encoding="utf-8")
    with pytest.raises(ParameterError):
        apply_overrides(file, [override])
    assert file.read_text(encoding="utf-8") == TEXT
    assert list(tmp_path.iterdir()) == [file]
