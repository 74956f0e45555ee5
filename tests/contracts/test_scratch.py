"""The scratch store, manifests, free space and the one-line errors of stages."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.contracts.running.disk import human_bytes, require_free_space
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ShardError, SourceError, UnreachableError
from pipeline.stage.fingerprint import code_fingerprint, fingerprint
from pipeline.stage.manifest import Facts, load_manifest
from pipeline.stage.run_record import Produced
from tests.conftest import PROJECT


class Count(Facts):
    count: int


class Number(Facts):
    number: int


def test_finished_parts_wait_for_the_next_run_and_only_the_planned_are_published(workplace: Path) -> None:
    first = ScratchStore("extract-x", "aaaa")
    first.path("part-0").write_text("zero")
    first.path("stray").write_text("?")
    (first.folder / ".part-1.99.partial").write_text("half")
    again = ScratchStore("extract-x", "aaaa")
    assert again.has("part-0")
    assert not again.has("part-0", "part-1")
    assert not list(again.folder.glob("*.partial"))
    again.path("part-1").write_text("one")
    (workplace / "out").mkdir()
    (workplace / "out" / "old").write_text("old")
    manifest = again.publish(workplace / "out", ["part-0", "part-1"], "things", Count(count=2))
    assert sorted(path.name for path in (workplace / "out").iterdir()) == ["manifest.json", "part-0", "part-1"]
    assert load_manifest(workplace / "out", "things") == manifest
    assert Count.of(manifest).count == 2
    with pytest.raises(ShardError, match=r"a folder of things: its manifest says number: .*run the stage that makes it again"):
        Number.of(manifest)
    assert not (workplace / ".scratch" / "extract-x").exists()
    with pytest.raises(ShardError, match="holds 'things', expected 'others'"):
        load_manifest(workplace / "out", "others")


def test_another_fingerprint_starts_afresh(workplace: Path) -> None:
    ScratchStore("extract-x", "aaaa").path("part-0").write_text("zero")
    assert not ScratchStore("extract-x", "bbbb").has("part-0")


def test_fingerprints_depend_on_values_and_code() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert code_fingerprint("search") != code_fingerprint("search", "evaluation")


def test_too_little_space_stops_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"Extracting x needs about 1024\.0 TiB in .*free there"):
        require_free_space(tmp_path / "not" / "yet", 2**50, "Extracting x")
    require_free_space(tmp_path, 1, "nothing")
    assert human_bytes(1536) == "1.5 KiB"


def fail_with(error: BaseException) -> None:
    def main(arguments: list[str]) -> Produced:
        raise error

    run_stage(main)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SourceError("two\nlines"), "error: two lines\n"),
        (UnreachableError("no answer"), "error: no answer\n"),
        (OSError(errno.ENOSPC, "No space left on device", "data/x"), "error: the disk is full while writing data/x: "),
        (KeyboardInterrupt(), "error: interrupted"),
    ],
)
def test_errors_of_stages_are_one_line(capsys: pytest.CaptureFixture[str], error: BaseException, message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        fail_with(error)
    assert caught.value.code == (75 if isinstance(error, UnreachableError) else 1)
    output = capsys.readouterr().err
    assert output.startswith(message)
    assert output.count("\n") == 1


def test_a_programming_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        fail_with(ZeroDivisionError())


@pytest.mark.slow
@pytest.mark.parametrize("module", ["acquisition", "imaging", "evaluation", "reporting"])
def test_stages_without_arithmetic_import_neither_torch_nor_pandas(module: str) -> None:
    code = (
        "import sys, runpy\nsys.argv = ['stage', '--help']\n"
        f"try: runpy.run_module('pipeline.{module}', run_name='__main__')\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'torchvision', 'sklearn', 'scipy', 'faiss', 'prefect', 'dvc'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
