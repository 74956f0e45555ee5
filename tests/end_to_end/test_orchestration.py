"""The small museum under a real Prefect server and worker: nightly runs, rebuilds side by side, comparison, sweeps."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.contracts.collections import current_version
from tests import warm_python
from tests.end_to_end.prefect_stack import PrefectStack
from tests.end_to_end.project import METHOD, Project
from tests.loopback import LoopbackServer

pytestmark = pytest.mark.slow

GRID = {
    "title": "Two poolings",
    "targets": ["evaluate"],
    "axes": {
        "pooling": {"MAC": {"aggregate.method": "mac"}, "SPoC": {"aggregate.method": "spoc"}},
        "whitening": {"PCA": {"aggregate.{aggregate.method}.whitening": "pca"}},
    },
    "published": [{"where": {"pooling": "MAC"}, "benchmark": "gallery", "map": 0.5, "source": "a paper"}],
}
TRAINING = (
    "finetune.described: epoch 0 of 2: map 0.5000, p_at_1 0.6000, spread 0.9000.",
    "finetune.described: epoch 1 of 2: loss 0.3000, active 0.2000, map 0.7000, p_at_1 0.8000, spread 0.9000.",
    "finetune.described, epoch 2 of 2: 2 of 8 images, 4.0/s, about 2 s left",
    "finetune.described, epoch 2 of 2: 4 of 8 images, 4.0/s, about 1 s left",
    "error: nothing of the kind",
)
"""Lines of a stage."""


class Site:
    """A small project with a Git remote and a DVC remote next to it, on a server and a worker."""

    def __init__(self, folder: Path) -> None:
        self.project = Project(folder / "checkout", flows=True)
        self.folder, self.remote, self.store = self.project.folder, folder / "remote.git", folder / "store"
        subprocess.run(["git", "init", "-q", "-b", "main", "--bare", str(self.remote)], check=True)
        for key, value in (("user.name", "Test"), ("user.email", "test@example.org")):
            self.project.git("config", key, value)
        self.project.dvc("remote", "add", "--default", "store", str(self.store))
        self.project.commit_all("Start")
        self.project.git("remote", "add", "origin", str(self.remote))
        self.project.git("push", "--quiet", "--set-upstream", "origin", "main")
        self.told, self.published = LoopbackServer(), folder / "published"
        self.told.__enter__()
        self.stack = PrefectStack(folder / "prefect", self.folder, RETRIEVAL_NOTIFY_URL=self.told.url, RETRIEVAL_PUBLISHED=str(self.published))

    def pushed(self, *arguments: str) -> str:
        """What `git log -1` with these arguments says of the remote."""
        done = subprocess.run(["git", "log", "-1", *arguments], cwd=self.remote, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "reports/metrics/gallery.json").read_text(encoding="utf-8"))
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("site"))
    try:
        found.stack.start_server()
        found.stack.retrieval("setup")
        found.stack.retrieval("setup")
        found.stack.start_runs_by(warm_python.for_flows())
        found.stack.start_worker()
        yield found
    finally:
        found.stack.stop()
        found.told.__exit__()


@pytest.fixture(scope="module")
def first_night(site: Site) -> str:
    """The run of the first nightly deployment, which ended well."""
    run = site.stack.trigger("nightly/nightly")
    state = site.stack.wait(run)
    assert state["name"] == "Completed", state
    return run


def digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(path for name in ("data", "reports") for path in (folder / name).rglob("*") if path.is_file()):
        if not path.name.endswith((".run.json", "made.js")) and "comparison" not in path.name:
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_setting_up_twice_leaves_one_of_each(site: Site) -> None:
    assert [pool["concurrency_limit"] for pool in site.stack.ask("POST", "/work_pools/filter") if pool["name"] == "gpu-box"] == [3]
    deployments = {found["name"]: found for found in site.stack.ask("POST", "/deployments/filter")}
    assert set(deployments) == {"rebuild", "nightly", "sweep"}
    assert [each["schedule"]["cron"] for each in deployments["nightly"]["schedules"]] == ["0 2 * * *"]
    schemas = {name: found["parameter_openapi_schema"]["properties"] for name, found in deployments.items()}
    for name in ("rebuild", "nightly"):
        assert {"extract", "extract@gallery", "report"} <= set(schemas[name]["targets"]["anyOf"][0]["items"]["enum"])
    assert all(found["global_concurrency_limit"]["limit"] == 1 for found in deployments.values())
    automations = site.stack.ask("POST", "/automations/filter")
    assert sorted(found["name"] for found in automations) == ["dead runs are crashed", "failed runs are told"]


def test_artifacts_follow_the_lines_of_a_stage_that_trains(site: Site) -> None:
    from prefect import flow, task
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tasks.progress_artifacts import StageProgress

    @task
    def stage() -> list[float]:
        own = StageProgress("finetune@described")
        seen = []
        for line in TRAINING:
            own.follow(line)
            seen.append(own.percent)
        return seen

    @flow
    def rebuild() -> list[float]:
        return stage()

    with temporary_settings({PREFECT_API_URL: site.stack.api}):
        assert rebuild() == pytest.approx([0, 50, 62.5, 75, 75])
    artifacts = {item["key"]: item["data"] for item in site.stack.ask("POST", "/artifacts/latest/filter")}
    assert artifacts["progress-finetune-described"] == 75
    table = re.sub(" +", " ", artifacts["training-described"]).splitlines()
    assert table[0] == "| epoch | map | p_at_1 | spread | loss | active |"
    assert table[3] == "| 1 | 0.7000 | 0.8000 | 0.9000 | 0.3000 | 0.2000 |"


def test_a_nightly_run_commits_and_pushes_the_bytes_of_plain_dvc(site: Site, first_night: str, museum: Project, tmp_path: Path) -> None:
    assert site.pushed("--format=%s") == "Rebuild: 16 Completed"
    message = re.sub(" +", " ", site.pushed("--format=%B"))
    assert f"Flow-Run: {first_night}" in message
    assert message.endswith("Rebuilt-By: nightly")
    assert "| extract@gallery | Completed |" in message
    names = site.pushed("--name-only", "--format=").split()
    recorded = ["data/sources/gallery.json", "data/sources/none.json"]
    assert sorted(names) == [*recorded, "dvc.lock", "reports/metrics/gallery.json", "reports/per_query/gallery.csv"]
    subprocess.run(["git", "clone", "-q", str(site.remote), str(tmp_path / "elsewhere")], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "pull", "-q"], cwd=tmp_path / "elsewhere", check=True)
    assert digests(tmp_path / "elsewhere") == digests(site.folder) == digests(museum.folder)


def test_a_nightly_run_shows_what_it_did(site: Site, first_night: str) -> None:
    artifacts = site.stack.artifacts(first_night)
    assert {"stages", "stage-graph", "metrics", "report"} <= set(artifacts)
    rows = {row["stage"]: row for row in json.loads(artifacts["stages"]["data"])}
    assert rows["extract@gallery"]["rate"].endswith("images/s")
    assert rows["extract@gallery"]["peak memory"].endswith("iB")
    assert "classDef Completed" in artifacts["stage-graph"]["data"]
    assert artifacts["report"]["data"].startswith("[reports/index.html](file://")
    states = site.stack.task_states(first_night)
    assert states["extract@gallery"] == states["push"] == states["send data"] == "Completed"
    logs = site.stack.ask("POST", "/logs/filter", logs={"flow_run_id": {"any_": [first_night]}}, limit=200, sort="TIMESTAMP_ASC")
    assert any("extract: " in log["message"] for log in logs)


def test_the_second_night_does_nothing(site: Site, first_night: str) -> None:
    before = site.pushed("--format=%H")
    run = site.stack.trigger("nightly/nightly")
    state = site.stack.wait(run)
    assert state["message"].startswith("16 UpToDate. No metric differs"), state
    states = site.stack.task_states(run)
    stages = yaml.safe_load((site.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    assert {states[name] for name in stages} == {"UpToDate"}
    assert site.pushed("--format=%H") == before


def test_steps_are_off_by_parameter_and_local_work_is_kept(site: Site, first_night: str) -> None:
    before = site.pushed("--format=%H")
    file = site.folder / "pipeline/whole.py"
    content = file.read_bytes()
    file.write_bytes(content + b"\n# my work\n")
    state = site.stack.wait(site.stack.trigger("nightly/nightly"))
    assert state["type"] == "FAILED"
    assert "1 tracked files differ from the last commit (pipeline/whole.py)" in state["message"]
    assert file.read_bytes().endswith(b"# my work\n")
    while not site.told.posted:
        time.sleep(0.2)
    told = json.loads(site.told.posted[-1])
    assert told["subject"] == "Instance retrieval: nightly Failed"
    assert "1 tracked files differ from the last commit" in told["text"]
    file.write_bytes(content)
    site.project.change("report.best", 1)
    site.project.commit_all("Show less")
    off = dict.fromkeys(("update", "pull", "publish", "commit", "push_data", "push"), False)
    run = site.stack.trigger("nightly/nightly", **off, compare_with=None)
    assert site.stack.wait(run)["message"] == "1 Completed, 15 UpToDate."
    assert set(site.stack.task_states(run)) & {"update the checkout", "fetch data", "publish", "commit", "send data", "push"} == set()
    assert site.stack.artifacts(run) == {}
    assert site.pushed("--format=%H") == before
    site.project.commit_all("Keep")


def test_results_that_fell_are_kept_back_until_accepted(site: Site, first_night: str) -> None:
    """The recorded results are made better than they are, by queries of other names, so that the true ones are a fall that nothing excuses."""
    site.project.git("pull", "--quiet", "--rebase")
    site.project.git("push", "--quiet")
    recorded, table = site.folder / "reports/metrics/gallery.json", site.folder / "reports/per_query/gallery.csv"
    true = recorded.read_bytes(), table.read_bytes()
    metrics = json.loads(true[0])
    rows = [row.split(",") for row in true[1].decode().splitlines()]
    raised = [",".join([f"old-{row[0]}", row[1], f"{float(row[2]) + 0.2:.6f}", *row[3:]]) for row in rows[1:]]
    metrics["database"]["map"] += 0.2
    recorded.write_text(json.dumps(metrics), encoding="utf-8")
    table.write_text("\n".join([",".join(rows[0]), *raised]) + "\n", encoding="utf-8")
    site.project.commit_all("Better than it is")
    recorded.unlink()
    table.unlink()
    shutil.rmtree(site.published)
    run = site.stack.trigger("nightly/nightly", push=False)
    state = site.stack.wait(run)
    assert state["type"] == "FAILED"
    assert not site.published.exists(), "a service goes on with the collection before"
    assert "mAP fell by more than 0.02: gallery database" in state["message"]
    assert site.project.git("log", "-1", "--format=%s") == "Better than it is"
    state = site.stack.wait(site.stack.trigger("nightly/nightly", largest_drop=None))
    assert state["name"] == "Completed"
    assert (recorded.read_bytes(), table.read_bytes()) == true
    assert current_version(site.published / "gallery").facts == current_version(site.folder / "data/collection/gallery").facts
    assert site.pushed("--format=%s").startswith("Rebuild: ")


def test_two_rebuilds_together_end_well_with_the_results_of_plain_dvc(site: Site, first_night: str, museum: Project, tmp_path: Path) -> None:
    site.project.change("aggregate.rmac.levels", 2)
    command = [warm_python.for_flows(), "-m", "cli", "repro"]
    runs = [
        subprocess.Popen(command, cwd=site.folder, env=site.stack.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert sum("Running stage 'learn@gallery'" in output for output in outputs) == 1, "\n".join(outputs)
    assert any("works on this checkout; waiting" in output for output in outputs)
    plain = Project(tmp_path / "plain", origin=museum)
    (plain.folder / "params.yaml").write_bytes((site.folder / "params.yaml").read_bytes())
    plain.make(*METHOD, "report")
    assert digests(plain.folder) == digests(site.folder)
    assert "up to date" in site.project.dvc("status")
    refusing = [*command, "--no-wait", "--force", "download@none"]
    runs = [subprocess.Popen(refusing, cwd=site.folder, env=site.stack.environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = {run.communicate()[1].splitlines()[-1]: run.returncode for run in runs}
    assert sorted(errors.values()) == [0, 1]
    assert [error for error, status in errors.items() if status and "works on this checkout; wait for its end" in error]


def test_a_failed_stage_is_named_in_the_last_lines_and_its_siblings_run(site: Site, first_night: str) -> None:
    before = site.project.params
    (site.folder / "empty").mkdir()
    site.project.change("datasets", before["datasets"] | {"mine": {"source": "folder", "path": "empty"}})
    site.project.change("evaluate.chance_margin", 0.03)
    command = [warm_python.for_flows(), "-m", "cli", "repro"]
    done = subprocess.run(command, cwd=site.folder, env=site.stack.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-2:]
    assert last[0].startswith("error: download@mine failed: empty: no images in it")
    missing = "data/images/mine, data/features/mine, reports/index.html, reports/pictures"
    assert last[1] == f"not run: resize@mine, extract@mine, report; out of date or missing: {missing}"
    assert not (site.folder / "data/raw/mine").exists()
    assert "Task run 'evaluate@gallery' - Finished in state Completed" in done.stdout + done.stderr
    site.project.write_params(before)


def test_comparison_shows_what_a_switch_changed_and_dvc_agrees(site: Site, first_night: str, tmp_path: Path) -> None:
    site.project.repro()
    site.project.commit_all("With whitening")
    old = site.metrics()["database"]["map"]
    site.project.change("aggregate.rmac.regional_whitening", "none")
    site.stack.retrieval("repro")
    site.project.commit_all("Without whitening")
    output = site.stack.retrieval("compare", "HEAD~1", "--json", str(tmp_path / "c.json"), "--html", str(tmp_path / "c.html"))
    new = site.metrics()["database"]["map"]
    assert new != old
    content = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    metric = content["benchmarks"][0]["metrics"][0]
    assert (metric["before"], metric["after"]) == (old, new)
    assert metric["paired"]["low"] <= metric["paired"]["mean"] <= metric["paired"]["high"]
    assert [each["path"] for each in content["parameters"]] == ["aggregate.rmac.regional_whitening"]
    assert {"learn@gallery", "aggregate@gallery"} <= {each["stage"] for each in content["stages"] if each["after_seconds"] and each["before_seconds"]}
    assert "extract@gallery" not in {each["stage"] for each in content["stages"]}
    assert f"{old:.4f}" in output
    assert "data:image/jpeg;base64," in (tmp_path / "c.html").read_text(encoding="utf-8")
    theirs = json.loads(site.project.dvc("metrics", "diff", "HEAD~1", "--json"))["reports/metrics/gallery.json"]["database.map"]
    assert theirs["diff"] == pytest.approx(new - old)
    assert "regional_whitening" in site.project.dvc("params", "diff", "HEAD~1")
    assert "index.html" in site.project.dvc("plots", "diff", "HEAD~1", "--out", str(tmp_path / "plots"))
    site.project.change("search.top_k", 90)
    site.project.repro()
    assert "No metric differs, nor the result of any query, in 1 benchmark." in site.stack.retrieval("compare")
    site.project.commit_all("Shorter rankings")


def test_overrides_become_an_experiment(site: Site, first_night: str) -> None:
    before = (site.folder / "params.yaml").read_bytes()
    output = site.stack.retrieval("repro", "--set", "search.top_k=80")
    name = next(line for line in output.splitlines() if "experiment top-k-80-" in line).rpartition("experiment ")[2].rstrip("')")
    assert name in site.project.dvc("exp", "list", "--name-only")
    assert site.project.params["search"]["top_k"] == 80
    command = [warm_python.for_flows(), "-m", "cli", "repro", "--set", "search.top_k=much"]
    done = subprocess.run(command, cwd=site.folder, env=site.stack.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "search.top_k: input should be a valid integer" in done.stderr.splitlines()[-1]
    assert site.project.params["search"]["top_k"] == 80
    (site.folder / "params.yaml").write_bytes(before)


def test_a_killed_sweep_goes_on_with_the_cells_that_are_missing(site: Site, first_night: str) -> None:
    (site.folder / "experiments").mkdir()
    (site.folder / "experiments/two.yaml").write_text(yaml.safe_dump(GRID, sort_keys=False), encoding="utf-8")
    site.project.commit_all("Add a grid")
    log = site.folder.parent / "sweep.log"
    with log.open("w", encoding="utf-8") as stream:
        first = subprocess.Popen(
            [sys.executable, "-m", "cli", "sweep", "experiments/two.yaml"], cwd=site.folder, env=site.stack.environment, stdout=stream, stderr=stream
        )
        table = site.folder / "reports/sweeps/two.csv"
        while not (table.exists() and table.read_text(encoding="utf-8").count("\n") >= 2):
            assert first.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    again = site.stack.retrieval("sweep", "experiments/two.yaml")
    rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    assert [row[-1] for row in rows[1:]] == ["finished before", "ran"]
    assert [row[:2] for row in rows[1:]] == [["MAC", "PCA"], ["SPoC", "PCA"]]
    assert "0.5" in rows[1]
    assert rows[1][4] != rows[2][4], "the cells differ"
    assert "Running stage 'extract" not in again + log.read_text(encoding="utf-8"), "features come from the cache"
    third = site.stack.retrieval("sweep", "experiments/two.yaml")
    assert "Running stage" not in third
