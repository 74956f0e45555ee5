"""When and from which commit a report was made: told by a file next to the page, which keeps its own bytes."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.reporting.made import UNMARKED, marked, write_made

PAGE = f"<html {UNMARKED}><p>{UNMARKED}</p></html>"


def told(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("window.made = ")
    found: dict[str, Any] = json.loads(text.removeprefix("window.made = ").rstrip(";\n"))
    return found


def git(*arguments: str) -> str:
    named = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    return subprocess.run(["git", *named, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def test_a_page_carries_the_digest_of_its_contents_in_its_first_tag_alone() -> None:
    page, digest = marked(PAGE)
    assert page == f'<html data-contents="{digest}"><p>{UNMARKED}</p></html>'
    assert marked(PAGE) == (page, digest)
    assert marked(PAGE.replace("<p>", "<b>"))[1] != digest


def test_day_and_commit_are_told_and_whether_what_decides_results_differs_from_it(workplace: Path) -> None:
    git("init", "-q")
    Path("params.yaml").write_text("a: 1\n", encoding="utf-8")
    Path("dvc.lock").write_text("", encoding="utf-8")
    git("add", "--all")
    git("commit", "-q", "-m", "first")
    Path("dvc.lock").write_text("made anew", encoding="utf-8")
    write_made(Path("reports/made.js"), "0123")
    first = told(Path("reports/made.js"))
    assert first.keys() == {"contents", "at", "commit", "changed"}
    assert first["contents"] == "0123"
    assert datetime.now(UTC) - datetime.fromisoformat(first["at"]) < timedelta(minutes=5)
    assert (first["commit"], first["changed"]) == (git("rev-parse", "--short", "HEAD"), False)
    Path("params.yaml").write_text("a: 2\n", encoding="utf-8")
    write_made(Path("reports/made.js"), "0123")
    assert told(Path("reports/made.js"))["changed"] is True


@pytest.mark.parametrize("has_git", [True, False])
def test_without_git_or_a_commit_the_day_alone_is_told(workplace: Path, monkeypatch: pytest.MonkeyPatch, has_git: bool) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(workplace.parent))
    if not has_git:
        monkeypatch.setenv("PATH", "")
    write_made(Path("reports/made.js"), "0123")
    found = told(Path("reports/made.js"))
    assert (found["commit"], found["changed"]) == ("", False)
