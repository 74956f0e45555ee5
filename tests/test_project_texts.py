"""No file names a machine's path or a package registry, no large file is tracked, and nothing is unpickled."""

import re
import subprocess

import pytest

from tests.conftest import PROJECT

FORBIDDEN = re.compile("|".join(("pypi" + r"\.org", "python" + "hosted", "registry" + r"\.npm", "/" + "root/", "/" + "home/")))


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
