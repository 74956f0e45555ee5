"""What several tests need: the real data where it is, a folder to work in, an HTTP server on loopback."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.contracts.running.settings import settings
from tests.loopback import LoopbackServer

MEASURED = ("online_time.csv", "patch_matching.csv", "instance_search.csv")
"""Tables of reports/ that benchmarks write, and the report shows."""
PROJECT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of functions come first, then those that build projects, the longest module before the others."""
    last = ("tests/end_to_end/test_orchestration", "tests/end_to_end", "tests/tasks", "tests/test_stage_graph", "tests/flows")
    items.sort(key=lambda item: next((place for place, start in enumerate(last, 1) if item.nodeid.startswith(start)), 0))


@pytest.fixture(autouse=True)
def _fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings are read once per process; a test that sets variables starts afresh. RETRIEVAL_DATA is for `real_data` alone."""
    monkeypatch.delenv("RETRIEVAL_DATA", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real photographs and ground truth: RETRIEVAL_DATA, or ../shared/data next to the project."""
    folder = Path(os.environ.get("RETRIEVAL_DATA") or PROJECT.parent / "shared" / "data")
    if not (folder / "groundtruth").is_dir():
        pytest.skip(f"{folder} holds no real data; set RETRIEVAL_DATA")
    return folder


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running
