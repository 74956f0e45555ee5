"""No file names a machine's path or a package registry, no large file is tracked, nothing is unpickled, a wheel has every file, pages are whole."""

import re
import subprocess
import tomllib

import pytest

from tests.conftest import PROJECT

FORBIDDEN = re.compile("|".join(("pypi" + r"\.org", "python" + "hosted", "registry" + r"\.npm", "/" + "root/", "/" + "home/")))
PAGES = ["README.md", *sorted(path.relative_to(PROJECT).as_posix() for path in (PROJECT / "docs").glob("*.md"))]


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (PROJECT / name).exists()]


def test_no_file_names_a_registry_or_a_path_of_a_machine() -> None:
    named = [name for name in tracked() if FORBIDDEN.search((PROJECT / name).read_text(encoding="utf-8", errors="replace"))]
    assert named == []


def test_no_large_file_is_tracked() -> None:
    assert [name for name in tracked() if (PROJECT / name).stat().st_size > 10**6] == []


def test_nothing_is_unpickled() -> None:
    sources = [name for name in tracked() if name.startswith("pipeline/") and name.endswith(".py")]
    assert [
        name
        for name in sources
        if re.search(r"import pickle|pickle\.load|allow_pickle=True|weights_only=False", (PROJECT / name).read_text(encoding="utf-8"))
    ] == []


def test_a_wheel_has_every_file_of_the_library() -> None:
    packaged = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    found = {
        file.relative_to(PROJECT).as_posix()
        for package, patterns in packaged.items()
        for pattern in patterns
        for file in (PROJECT / package.replace(".", "/")).glob(pattern)
    }
    others = [name for name in tracked() if name.startswith(("pipeline/", "cli/", "tasks/", "flows/")) and not name.endswith(".py")]
    assert [name for name in others if name not in found] == []


def test_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_to_files(page: str) -> None:
    place = PROJECT / page
    links = re.findall(r"\]\(([^)#]+)\)", place.read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("https://") and not (place.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_tables_of_a_page_are_whole(page: str) -> None:
    """A row that does not follow its table's head is shown as text."""
    lines = ["", *(PROJECT / page).read_text(encoding="utf-8").splitlines(), ""]
    heads = [place for place in range(1, len(lines) - 1) if lines[place].startswith("|") and not lines[place - 1].startswith("|")]
    assert [lines[place] for place in heads if not re.fullmatch(r"\|[-: |]+\|", lines[place + 1])] == []


EARLY = ("pipeline/stage/entry.py", "pipeline/python.sh")
"""What reads settings before anything else does."""


def test_commands_and_settings_that_pages_name_are_there() -> None:
    from typer.core import TyperGroup
    from typer.main import get_command

    from cli import app
    from pipeline.contracts.running.settings import Settings
    from tasks.settings import FlowSettings

    text = "\n".join(path.read_text(encoding="utf-8") for path in [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")])
    commands = get_command(app)
    assert isinstance(commands, TyperGroup)
    assert set(re.findall(r"(?:    |`)retrieval ([a-z]+)", text)) <= set(commands.commands)
    known = {f"RETRIEVAL_{name.upper()}" for kind in (Settings, FlowSettings) for name in kind.model_fields}
    early = {name for name in ("RETRIEVAL_LOG", "RETRIEVAL_PYTHON") if any(name in (PROJECT / file).read_text(encoding="utf-8") for file in EARLY)}
    assert set(re.findall(r"RETRIEVAL_[A-Z_]+[A-Z]", text)) == known | early


def test_the_site_has_every_page() -> None:
    text = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"([a-z_]+\.md)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (PROJECT / "docs").glob("*.md"))
