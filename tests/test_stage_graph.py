"""dvc.yaml against the code: each stage's import closure, each parameter's reach, and no import against the layers."""

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from tests.conftest import MEASURED, PROJECT

ENTRIES = {
    "download": "pipeline.acquisition.__main__",
    "resize": "pipeline.imaging.__main__",
    "network": "pipeline.networks.__main__",
    "finetune": "pipeline.finetuning.__main__",
    "extract": "pipeline.extraction.__main__",
    "learn": "pipeline.aggregation.learn",
    "aggregate": "pipeline.aggregation.aggregate",
    "aggregate_distractors": "pipeline.aggregation.distractors",
    "masks": "pipeline.aggregation.mask_study",
    "patch_similarity": "pipeline.studies.patch_similarity",
    "region_precision": "pipeline.studies.region_precision",
    "class_activations": "pipeline.studies.class_activations",
    "hash": "pipeline.hashing.__main__",
    "search": "pipeline.search.__main__",
    "evaluate": "pipeline.evaluation.__main__",
    "report": "pipeline.reporting.__main__",
}
STEPS = {
    "classified": {"step": "classification", "start": "efficientnet_lite0", "dataset": "gallery", "epochs": 3, "seed": 1},
    "convolutional": {"step": "fully_convolutional", "start": "classified", "dataset": "gallery", "epochs": 3},
    "described": {"step": "region_descriptor", "start": "convolutional", "dataset": "gallery", "margin": 0.1, "regions": 4},
}
"""A chain of training beside the benchmark, whose active network is another."""
GALLERY = ("learn", "aggregate", "aggregate_distractors", "hash", "search", "evaluate")
AFTER_LEARN = {f"{stage}@gallery" for stage in GALLERY} | {"report"}
AFTER_EXTRACT = AFTER_LEARN | {"masks@gallery", "region_precision@gallery", "class_activations@gallery", "extract@gallery", "extract@none"}
AFTER_NETWORK = AFTER_EXTRACT | {"patch_similarity@gallery"}
TRAINING = {f"finetune@{name}" for name in STEPS}
AFTER_RESIZE = AFTER_NETWORK | TRAINING | {"resize@gallery", "resize@none"}
AFTER_HASH = {"hash@gallery", "search@gallery", "evaluate@gallery", "report"}
AFTER_SEARCH = {"search@gallery", "evaluate@gallery", "report"}

REACH: dict[str, set[str]] = {
    "datasets.none": AFTER_LEARN - {"learn@gallery", "aggregate@gallery"} | {"download@none", "resize@none", "extract@none"},
    "datasets.gallery": AFTER_NETWORK - {"extract@none"} | TRAINING | {"download@gallery", "resize@gallery"},
    "networks.efficientnet_lite0": AFTER_NETWORK | TRAINING | {"network@efficientnet_lite0"},
    "finetune.classified": TRAINING | {"report"},
    "finetune.convolutional": {"finetune@convolutional", "finetune@described", "report"},
    "finetune.described": {"finetune@described", "report"},
    "benchmarks.gallery.dataset": AFTER_LEARN
    | {"masks@gallery", "patch_similarity@gallery", "region_precision@gallery", "class_activations@gallery"},
    "benchmarks.gallery.held_out": AFTER_LEARN | {"region_precision@gallery"},
    "benchmarks.gallery.distractors": AFTER_HASH | {"aggregate_distractors@gallery"},
    "benchmarks.gallery.allow_self_learning": AFTER_LEARN,
    "resize": AFTER_RESIZE,
    "network": AFTER_NETWORK,
    "extract": AFTER_EXTRACT,
    "aggregate.method": AFTER_LEARN,
    "aggregate.rmac": AFTER_LEARN,
    "aggregate": set(),
    "hash.method": AFTER_HASH,
    "hash.none": AFTER_HASH,
    "hash": set(),
    "mask_study": {"masks@gallery", "report"},
    "patch_study": {"patch_similarity@gallery", "report"},
    "activation_study": {"class_activations@gallery", "report"},
    "region_study": {"region_precision@gallery", "report"},
    "search": AFTER_SEARCH,
    "search.rerank": set(),
    "search.rerank.method": AFTER_SEARCH,
    "evaluate": {"evaluate@gallery", "report"},
    "report": {"report"},
}
"""By the longest path that a parameter starts with: the stages that must rerun when it changes, and no others."""

OTHER_TEXT = {"rmac": "mac", "gallery": "none", "none": "gallery", "efficientnet_lite0": "other_network"}


def graph_file() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))
    return content


def declared_code(stage: str) -> set[str]:
    content = graph_file()["stages"][stage]
    return {dep for dep in content.get("do", content)["deps"] if dep.startswith("pipeline/")}


def closure(entry: str, graph: grimp.ImportGraph) -> set[str]:
    code = set()
    for module in {entry} | graph.find_upstream_modules(entry):
        parts = module.split(".")
        if len(parts) > 2:
            code.add(f"pipeline/contracts/{parts[2]}.py" if parts[1] == "contracts" else f"pipeline/{parts[1]}")
    return code


def test_every_stage_declares_exactly_the_code_it_imports() -> None:
    graph = grimp.build_graph("pipeline")
    assert set(graph_file()["stages"]) == set(ENTRIES)
    for stage, entry in ENTRIES.items():
        needed, declared = closure(entry, graph), declared_code(stage)
        assert declared == needed, f"{stage}: add {sorted(needed - declared)}, remove {sorted(declared - needed)}"


def test_every_stage_runs_its_entry() -> None:
    for stage, entry in ENTRIES.items():
        content = graph_file()["stages"][stage]
        assert f"-m {entry.removesuffix('.__main__')}" in content.get("do", content)["cmd"]


def test_layers_are_kept() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


PARAMETERS: dict[str, Any] = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
PARAMETERS["finetune"] = STEPS
LEAVES = [path for path, _ in leaves(PARAMETERS)]


def changed(path: str) -> dict[str, Any]:
    """params.yaml with another value at a path."""
    content = copy.deepcopy(PARAMETERS)
    section = content
    *parents, last = path.split(".")
    for key in parents:
        section = section[key]
    value = section[last]
    if isinstance(value, bool):
        section[last] = not value
    elif isinstance(value, int | float):
        section[last] = value + 1
    elif isinstance(value, str):
        section[last] = (
            OTHER_TEXT.get(value, value + "x")
            if path.startswith(("benchmarks", "network.", "aggregate.method")) or path.endswith((".start", ".dataset"))
            else value + "x"
        )
    else:
        section[last] = ["other"] if isinstance(value, list) else 1
    return content


def expected_reach(path: str) -> set[str]:
    starts = [start for start in REACH if path == start or path.startswith(start + ".")]
    assert starts, f"{path}: say in REACH which stages it reaches"
    return REACH[max(starts, key=len)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which every stage is up to date; its outputs are stand-ins, recorded by `dvc commit`."""
    folder = tmp_path_factory.mktemp("graph")
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(PROJECT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMETERS, sort_keys=False), encoding="utf-8")
    shutil.copytree(PROJECT / "pipeline", folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROJECT / "reports/sweeps", folder / "reports/sweeps")
    (folder / "reports/training").mkdir()
    for name in MEASURED:
        shutil.copy(PROJECT / "reports" / name, folder / "reports")
    from dvc.repo import Repo

    before = Path.cwd()
    os.chdir(folder)
    with Repo.init(no_scm=True) as repo:
        for out in repo.index.outs:
            path = folder / str(out)
            if path.suffix in (".json", ".csv", ".html"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}", encoding="utf-8")
            else:
                path.mkdir(parents=True, exist_ok=True)
                for name in ("manifest.json", "catalogue.parquet", "ground_truth.parquet"):
                    (path / name).write_text(str(path), encoding="utf-8")
        repo.commit(force=True)
    os.chdir(before)
    shutil.copytree(folder / "data/networks/efficientnet_lite0", folder / "data/networks/other_network")
    return folder


def stages_to_run(folder: Path, content: dict[str, Any]) -> set[str]:
    """The stages that DVC would run: those it finds changed, and all that depend on them."""
    from dvc.repo import Repo

    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with Repo(folder) as repo, repo.lock:
            graph = repo.index.graph.reverse()
            found = set()
            for stage in repo.index.stages:
                if stage.changed():
                    found |= {stage} | {later for later in graph if stage in ancestors(graph, later)}
            return {stage.addressing.rpartition(":")[2] for stage in found}
    finally:
        os.chdir(before)


def ancestors(graph: Any, node: Any) -> set[Any]:
    import networkx

    return set(networkx.ancestors(graph, node))


def test_nothing_is_to_run_when_nothing_changed(repository: Path) -> None:
    assert stages_to_run(repository, PARAMETERS) == set()


@pytest.mark.parametrize("path", LEAVES)
def test_a_changed_parameter_reruns_exactly_the_affected_stages(repository: Path, path: str) -> None:
    assert stages_to_run(repository, changed(path)) == expected_reach(path)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("pipeline/evaluation/protocols.py", {"evaluate@gallery", "report"}),
        ("pipeline/search/reranking/shortlists.py", AFTER_SEARCH),
        (
            "pipeline/aggregation/pooling.py",
            AFTER_LEARN | {"masks@gallery", "patch_similarity@gallery", "region_precision@gallery", "class_activations@gallery"},
        ),
        ("pipeline/reporting/page.html.j2", {"report"}),
        ("pipeline/finetuning/mining.py", TRAINING | {"report"}),
        ("pipeline/extraction/inference.py", AFTER_NETWORK),
        ("pipeline/whole.py", set()),
    ],
)
def test_a_changed_line_of_code_reruns_exactly_the_affected_stages(repository: Path, file: str, expected: set[str]) -> None:
    before = (repository / file).read_bytes()
    (repository / file).write_bytes(before + b"\n")
    try:
        assert stages_to_run(repository, PARAMETERS) == expected
    finally:
        (repository / file).write_bytes(before)
