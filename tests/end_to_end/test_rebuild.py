"""The whole way on a small museum, with real DVC: what runs, what does not, what survives, what it reads and imports."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.project import Project
from tests.test_stage_graph import AFTER_LEARN, declared_code, place_of

pytestmark = pytest.mark.slow

ASKED_FOR = {"finetune", "masks", "patch_similarity", "region_precision", "class_activations"}

PYTHON = sys.executable
IMPORTS = """
import atexit, os, sys
if os.environ.get("MODULES_FILE"):
    atexit.register(lambda: open(os.environ["MODULES_FILE"], "w").write("\\n".join(sorted(sys.modules))))
"""


@pytest.fixture(scope="module")
def built(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the museum."""
    return Project(tmp_path_factory.mktemp("built") / "project", origin=museum)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_every_stage_ran_but_those_that_params_yaml_does_not_ask_for(museum: Project, first_stages: set[str]) -> None:
    stages = set(yaml.safe_load((museum.folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    assert {name.partition("@")[0] for name in first_stages} == stages - ASKED_FOR


def test_metrics_and_report_are_there(built: Project) -> None:
    metrics = json.loads((built.folder / "reports/metrics/gallery.json").read_text(encoding="utf-8"))
    assert metrics["database_images"] == 10
    assert metrics["queries"] == metrics["database"]["scored_queries"] == 5
    assert metrics["database"]["map"] > metrics["database"]["map_at_chance"]
    assert "gallery.json" in built.dvc("metrics", "show")
    page = (built.folder / "reports/index.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") >= 5
    addresses = {match for match in re.findall(r'(?:src|href)="([^"]+)"', page) if not match.startswith(("data:", "#"))}
    assert addresses == set(), "the page is one file"
    assert "learned on 64 held-out images of gallery" in page


def test_nothing_half_written_is_left(built: Project) -> None:
    left = [path for path in built.folder.rglob("*") if "partial" in path.name or path.name.endswith(".part")]
    assert left == []
    assert not list((built.folder / ".scratch").glob("*"))


def test_a_second_run_does_nothing_and_other_settings_rerun_nothing(built: Project) -> None:
    assert built.repro() == set()
    (built.folder / ".env").write_text("RETRIEVAL_BATCH_SIZE=1\nRETRIEVAL_WORKERS=1\n", encoding="utf-8")
    assert built.repro() == set()
    (built.folder / ".env").unlink()


def test_another_method_runs_from_learn_on_and_an_unused_one_nothing(museum: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", origin=museum)
    project.change("aggregate.gem.power", 4.0)
    assert project.repro() == set()
    project.change("aggregate.method", "mac")
    ran = project.repro()
    assert AFTER_LEARN - {"aggregate_distractors@gallery"} <= ran <= AFTER_LEARN
    assert json.loads((project.folder / "data/models/gallery/model.json").read_text(encoding="utf-8"))["learned_on"] is None


def test_one_changed_line_of_evaluation_runs_evaluate_and_at_most_the_report(museum: Project, tmp_path: Path) -> None:
    """Its results are the same, so that the rebuild ends there."""
    project = Project(tmp_path / "project", origin=museum)
    with (project.folder / "pipeline/evaluation/protocols.py").open("a", encoding="utf-8") as stream:
        stream.write("\n# a remark\n")
    assert project.repro() == {"evaluate@gallery"}


def test_killed_in_the_middle_of_extract_it_goes_on_where_it_stopped(museum: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", origin=museum)
    expected = digests(project.folder / "data/features/gallery")
    assert len([name for name in expected if name.startswith("part-")]) >= 3
    shutil.rmtree(project.folder / "data/features/gallery")
    shutil.rmtree(project.folder / ".dvc/cache")
    process = project.start("repro", "--single-item", "--force", "extract@gallery")
    scratch = project.folder / ".scratch/extract-gallery"
    while not list(scratch.glob("*/part-00000-000.parquet")) and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (project.folder / "data/features/gallery").exists()
    finished = {path: path.stat().st_mtime_ns for path in scratch.glob("*/part-*.parquet")}
    assert 0 < len(finished) < len(expected) - 1
    inodes = {path.name: path.stat().st_ino for path in finished}
    output = project.dvc("repro", "--single-item", "--force", "extract@gallery")
    assert "extract: 79 images" in output
    assert digests(project.folder / "data/features/gallery") == expected
    kept = {name: (project.folder / "data/features/gallery" / name).stat().st_ino for name in inodes}
    assert kept == inodes, "finished shards were written again"
    assert not scratch.exists()


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for path, value in flat.items():
        section = content
        *parents, last = path.split(".")
        for key in parents:
            section = section.setdefault(key, {})
        section[last] = value
    return content


UNUSED = {"torchvision", "sympy", "torch._dynamo", "matplotlib", "pandas", "sklearn", "faiss", "cv2"}
USED = {
    "evaluate@gallery": {"pandas"},
    "report": {"pandas", "matplotlib"},
}
"""Heavy libraries that a stage uses in this run: tables of results, the report's figures, and a regression of answers."""
WITHOUT_TORCH = {"names", "download", "resize", "hash", "aggregate_distractors", "collection", "evaluate", "report"}


def test_every_stage_reads_and_imports_only_what_it_declares_and_uses(museum: Project, tmp_path: Path) -> None:
    """Each runs again by itself with params.yaml pruned to its own parameters, its modules are recorded, its outputs are the same."""
    project = Project(tmp_path / "project", origin=museum)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(IMPORTS, encoding="utf-8")
    stages = yaml.safe_load((project.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    assert len(stages) == 16
    for name, stage in stages.items():
        outputs = {out["path"]: project.folder / out["path"] for out in stage["outs"]}
        before = {path: digests(place) if place.is_dir() else place.read_bytes() for path, place in outputs.items()}
        pruned = nested(stage.get("params", {}).get("params.yaml", {}))
        (project.folder / "params.yaml").write_text(yaml.safe_dump(pruned), encoding="utf-8")
        for place in outputs.values():
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        modules = modules_of(project, name, stage["cmd"], tmp_path)
        after = {path: digests(place) if place.is_dir() else place.read_bytes() for path, place in outputs.items()}
        assert after == before, name
        declared = declared_code(name.partition("@")[0])
        for module in modules:
            parts = module.split(".")
            if parts[0] == "pipeline" and len(parts) > 2:
                assert place_of(module) in declared, f"{name} imports {module}"
        assert not modules & ({"prefect", "dvc"} | (UNUSED - USED.get(name, set()))), name
        assert ("torch" in modules) is (name.partition("@")[0] not in WITHOUT_TORCH and not name.endswith("@none")), name


def test_a_method_that_learns_nothing_learns_without_torch(museum: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", origin=museum)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(IMPORTS, encoding="utf-8")
    project.change("aggregate.method", "mac")
    stage = yaml.safe_load((project.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]["learn@gallery"]
    assert "torch" not in modules_of(project, "learn@gallery", stage["cmd"], tmp_path)


def modules_of(project: Project, name: str, command: str, folder: Path) -> set[str]:
    """Run a stage's command; returns the modules that its process had at its end."""
    environment = project.environment | {
        "PYTHONPATH": str(folder / "site"),
        "MODULES_FILE": str(folder / "modules"),
        "RETRIEVAL_PYTHON": PYTHON,
        "DVC_STAGE": name,
    }
    done = subprocess.run(command, shell=True, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set((folder / "modules").read_text(encoding="utf-8").splitlines())
