"""The checkout: one run at a time, updates that never touch local work, commits of results alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.stage.errors import PipelineError
from tasks import published_collections
from tasks.workspace import (
    TRAILER,
    BusyError,
    RemoteError,
    checkout_lock,
    commit_results,
    experiment_name,
    has_remote,
    is_repository,
    pull_data,
    push_commits,
    push_data,
    refuse_local_changes,
    update_checkout,
)
from tests.tasks.script_project import ScriptProject, git

HOLD = """
import sys
from pathlib import Path
from tasks.workspace import checkout_lock
with checkout_lock(Path.cwd()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def checkout(built: ScriptProject) -> Path:
    """A project that is committed and has a bare remote next to it."""
    folder = built.folder
    for key, value in (("user.name", "Test"), ("user.email", "test@example.org")):
        git(folder, "config", key, value)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Start")
    git(folder.parent, "init", "-q", "--bare", "remote.git")
    git(folder, "remote", "add", "origin", "../remote.git")
    git(folder, "push", "-q", "--set-upstream", "origin", "HEAD")
    return folder


def other_commit(checkout: Path, name: str = "notes.txt") -> None:
    """A commit of somebody else on the remote."""
    other = checkout.parent / "other"
    git(checkout.parent, "clone", "-q", "remote.git", "other")
    (other / name).parent.mkdir(exist_ok=True)
    (other / name).write_text("news", encoding="utf-8")
    git(other, "add", ".")
    git(other, "commit", "-qm", "News")
    git(other, "push", "-q")


def test_one_run_at_a_time_and_any_death_frees_the_checkout(project: ScriptProject) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD], cwd=project.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(BusyError, match=rf"another run \(process {holder.pid}, since 20.* works on this checkout"),
        checkout_lock(project.folder, wait=False),
    ):
        pass
    holder.kill()
    holder.communicate()
    with checkout_lock(project.folder, wait=False), checkout_lock(project.folder, wait=False):
        pass


def test_names_that_git_quotes_are_results_as_others_are(checkout: Path) -> None:
    for name in ("reports/sweeps/größe.md", "reports_tool.py"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("before", encoding="utf-8")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "More")
    (checkout / "reports/sweeps/größe.md").write_text("after", encoding="utf-8")
    refuse_local_changes(checkout)
    git(checkout, "mv", "reports_tool.py", "tool of reports.py")
    with pytest.raises(PipelineError, match=r"1 tracked files differ from the last commit \(tool of reports\.py\)"):
        refuse_local_changes(checkout)


def test_a_push_that_is_refused_says_why_and_is_not_tried_again(checkout: Path) -> None:
    other_commit(checkout)
    (checkout / "mine.txt").write_text("mine", encoding="utf-8")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "Mine")
    with pytest.raises(PipelineError, match=r"`git push` failed: ! \[rejected\] .*fetch first.*; error: failed to push some refs") as refused:
        push_commits(checkout)
    assert not isinstance(refused.value, RemoteError)


def test_collections_of_the_benchmarks_of_params_yaml_alone_are_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[str] = []
    monkeypatch.setattr(published_collections, "current_version", lambda folder: folder)

    def hand_over(folder: Path, target: Path) -> bool:
        handed.append(folder.name)
        return True

    monkeypatch.setattr(published_collections, "hand_over", hand_over)
    (tmp_path / "params.yaml").write_text("benchmarks: {mine: {}}\n", encoding="utf-8")
    for name in ("mine", "dropped"):
        (tmp_path / "data/collection" / name).mkdir(parents=True)
        (tmp_path / "data/collection" / name / "current.json").write_text("{}", encoding="utf-8")
    assert published_collections.hand_over_collections(tmp_path, tmp_path / "out") == f"{tmp_path / 'out'}: mine"
    assert handed == ["mine"]


def test_an_update_fast_forwards(checkout: Path) -> None:
    assert update_checkout(checkout).endswith("nothing new")
    other_commit(checkout)
    assert update_checkout(checkout).endswith("1 new commits")
    assert (checkout / "notes.txt").read_text(encoding="utf-8") == "news"


def test_local_work_is_never_touched(checkout: Path) -> None:
    other_commit(checkout, "stage.py")
    (checkout / "stage.py").write_text("my work", encoding="utf-8")
    with pytest.raises(PipelineError, match=r"1 tracked files differ from the last commit \(stage.py\); commit or stash"):
        update_checkout(checkout)
    assert (checkout / "stage.py").read_text(encoding="utf-8") == "my work"
    git(checkout, "commit", "-qam", "Mine")
    with pytest.raises(PipelineError, match="1 local commits and 1 new ones upstream"):
        update_checkout(checkout)
    assert (checkout / "stage.py").read_text(encoding="utf-8") == "my work"


def test_unpushed_results_of_runs_give_way_to_news(checkout: Path) -> None:
    """A nightly commit whose push was refused, and results that no run committed, do not block the next update, even where it adds the same files."""
    other_commit(checkout, "reports/a.json")
    (checkout / "reports").mkdir()
    (checkout / "reports/a.json").write_text("1", encoding="utf-8")
    commit_results(checkout, f"Nightly\n\n{TRAILER}")
    unpushed = git(checkout, "rev-parse", "HEAD")
    (checkout / "reports/a.json").write_text("2", encoding="utf-8")
    (checkout / "reports/new.json").write_text("3", encoding="utf-8")
    assert update_checkout(checkout).endswith("1 new commits")
    assert git(checkout, "log", "-1", "--format=%s") == "News"
    assert git(checkout, "for-each-ref", "--format=%(objectname)", "refs/unpushed") == unpushed
    assert git(checkout, "status", "--porcelain") == ""
    assert (checkout / "reports/a.json").read_text(encoding="utf-8") == "news"
    assert git(checkout, "show", "stash@{0}^3:reports/new.json") == "3", "nothing is lost"


def test_results_are_committed_and_nothing_else(checkout: Path) -> None:
    assert commit_results(checkout, "Nothing") == ""
    (checkout / "reports").mkdir()
    (checkout / "reports/metrics.json").write_text("{}", encoding="utf-8")
    (checkout / "mine.txt").write_text("untracked", encoding="utf-8")
    (checkout / "stage.py").write_text("my work", encoding="utf-8")
    commit = commit_results(checkout, "Nightly\n\nRun: 1")
    assert git(checkout, "show", "--name-only", "--format=%B", commit).split() == ["Nightly", "Run:", "1", "reports/metrics.json"]
    assert git(checkout, "status", "--porcelain").splitlines() == ["M stage.py", "?? mine.txt"]
    push_commits(checkout)
    assert git(checkout.parent / "remote.git", "log", "-1", "--format=%s") == "Nightly"


def test_a_checkout_without_an_author_commits_as_the_project(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    git(checkout, "config", "--remove-section", "user")
    (checkout / "reports").mkdir()
    (checkout / "reports/a.json").write_text("{}", encoding="utf-8")
    commit = commit_results(checkout, "Nightly")
    assert git(checkout, "log", "-1", "--format=%an <%ae>", commit) == "retrieval <retrieval@localhost>"


def test_a_refused_push_says_so(checkout: Path) -> None:
    other_commit(checkout)
    (checkout / "reports").mkdir()
    (checkout / "reports/a.json").write_text("{}", encoding="utf-8")
    commit_results(checkout, "Nightly")
    with pytest.raises(PipelineError, match="git push"):
        push_commits(checkout)


def test_data_go_to_the_remote_and_come_back(checkout: Path) -> None:
    assert not has_remote(checkout)
    assert pull_data(checkout) == "no DVC remote is configured"
    subprocess.run([sys.executable, "-m", "dvc", "remote", "add", "--default", "store", str(checkout.parent / "store")], cwd=checkout, check=True)
    assert has_remote(checkout)
    push_data(checkout)
    (checkout / "data/tail").unlink()
    subprocess.run(["rm", "-rf", ".dvc/cache"], cwd=checkout, check=True)
    assert pull_data(checkout) == "fetched"
    assert (checkout / "data/tail").exists()
    (checkout / "data/tail").unlink()
    (checkout / "data/tail").write_text("left by a killed stage", encoding="utf-8")
    assert "the rebuild makes them again" in pull_data(checkout)
    assert (checkout / "data/tail").read_text(encoding="utf-8") == "left by a killed stage"
    subprocess.run([sys.executable, "-m", "dvc", "remote", "modify", "store", "url", "ssh://nobody@127.0.0.1:1/x"], cwd=checkout, check=True)
    with pytest.raises(RemoteError, match="`dvc pull` failed: ERROR: "):
        pull_data(checkout)


def test_repositories_without_commits_are_told_apart(project: ScriptProject, checkout: Path, tmp_path: Path) -> None:
    assert is_repository(checkout)
    assert not is_repository(tmp_path)


def test_experiments_are_named_by_their_overrides() -> None:
    assert experiment_name(["aggregate.method=mac", "search.top_k=5"]) == experiment_name(["aggregate.method=mac", "search.top_k=5"])
    assert experiment_name(["aggregate.method=mac"]).startswith("method-mac-")
    assert experiment_name(["a=1"]) != experiment_name(["b=1"])
