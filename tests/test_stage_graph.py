"""dvc.yaml against the code: each stage's import closure, each parameter's reach, and no import against the layers."""

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from pipeline.aggregation.params import DESCRIBERS
from pipeline.hashing.params import HASHERS
from pipeline.networks.params import ARCHITECTURES
from pipeline.stage.names import NAMED
from pipeline.stage.source_records import ensure_source_records
from tasks.stage_graph import GUARD
from tests.conftest import MEASURED, PROJECT

ENTRIES = {
    "names": "pipeline.stage.__main__",
    "download": "pipeline.acquisition.__main__",
    "resize": "pipeline.imaging.__main__",
    "network": "pipeline.networks.__main__",
    "finetune": "pipeline.finetuning.__main__",
    "extract": "pipeline.extraction.__main__",
    "learn": "pipeline.aggregation.learn",
    "aggregate": "pipeline.aggregation.aggregate",
    "aggregate_distractors": "pipeline.aggregation.distractors",
    "masks": "pipeline.studies.masks",
    "patch_similarity": "pipeline.studies.patch_similarity",
    "region_precision": "pipeline.studies.region_precision",
    "class_activations": "pipeline.studies.class_activations",
    "hash": "pipeline.hashing.__main__",
    "search": "pipeline.search.__main__",
    "collection": "pipeline.collecting.__main__",
    "evaluate": "pipeline.evaluation.__main__",
    "report": "pipeline.reporting.__main__",
}
BY_NAME = {
    "pipeline.aggregation.describers.registry": ("pipeline.aggregation.describers", DESCRIBERS),
    "pipeline.hashing.registry": ("pipeline.hashing", HASHERS),
    "pipeline.networks.registry": ("pipeline.networks", ARCHITECTURES),
}
"""Modules that import others by name: the package that these lie in, and the table that names them."""
STEPS = {
    "classified": {"step": "classification", "start": "efficientnet_lite0", "dataset": "gallery", "epochs": 3, "seed": 1},
    "convolutional": {"step": "fully_convolutional", "start": "classified", "dataset": "gallery", "epochs": 3},
    "described": {"step": "region_descriptor", "start": "convolutional", "dataset": "gallery", "margin": 0.1, "regions": 4},
}
"""A chain of training; the benchmark's active network is another."""
STUDIES: dict[str, dict[str, Any]] = {
    "mask_study": {"gallery": {"dataset": "gallery", "images": 3}},
    "patch_study": {"gallery": {"dataset": "gallery", "patches": 3}},
    "region_study": {"gallery": {"dataset": "gallery", "held_out": "gallery", "queries": 3}},
    "activation_study": {"gallery": {"dataset": "gallery", "pictures": 3}},
}
GALLERY = ("learn", "aggregate", "aggregate_distractors", "hash", "search", "collection", "evaluate")
AFTER_LEARN = {f"{stage}@gallery" for stage in GALLERY} | {"report"}
AFTER_EXTRACT = AFTER_LEARN | {"masks@gallery", "region_precision@gallery", "class_activations@gallery", "extract@gallery", "extract@none"}
AFTER_NETWORK = AFTER_EXTRACT | {"patch_similarity@gallery"}
TRAINING = {f"finetune@{name}" for name in STEPS}
AFTER_RESIZE = AFTER_NETWORK | TRAINING | {"resize@gallery", "resize@none"}
AFTER_HASH = {"hash@gallery", "search@gallery", "collection@gallery", "evaluate@gallery", "report"}
AFTER_SEARCH = {"search@gallery", "collection@gallery", "evaluate@gallery", "report"}

REACH: dict[str, set[str]] = {
    "datasets.none": AFTER_LEARN - {"learn@gallery", "aggregate@gallery"} | {"download@none", "resize@none", "extract@none"},
    "datasets.gallery": AFTER_NETWORK - {"extract@none"} | TRAINING | {"download@gallery", "resize@gallery"},
    "networks.efficientnet_lite0": AFTER_NETWORK | TRAINING | {"network@efficientnet_lite0"},
    "finetune.classified": TRAINING | {"report"},
    "finetune.convolutional": {"finetune@convolutional", "finetune@described", "report"},
    "finetune.described": {"finetune@described", "report"},
    "benchmarks.gallery.dataset": AFTER_LEARN,
    "benchmarks.gallery.held_out": AFTER_LEARN,
    "benchmarks.gallery.distractors": AFTER_HASH | {"aggregate_distractors@gallery"},
    "benchmarks.gallery.kept_back": AFTER_LEARN,
    "benchmarks.gallery.allow_self_learning": AFTER_LEARN,
    "resize": AFTER_RESIZE,
    "network": AFTER_NETWORK,
    "extract": AFTER_EXTRACT,
    "aggregate.method": AFTER_LEARN,
    "aggregate.storage": AFTER_LEARN - {"learn@gallery"},
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
    "collection": {"collection@gallery", "report"},
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
    modules = {entry} | graph.find_upstream_modules(entry)
    for registry, (package, table) in BY_NAME.items():
        if registry in modules:
            named = {f"{package}.{place.partition(':')[0]}" for place in table.values()}
            modules |= named | {each for module in named for each in graph.find_upstream_modules(module)}
    for module in modules:
        parts = module.split(".")
        if len(parts) > 2:
            code.add(place_of(module))
    return code


def place_of(module: str) -> str:
    """What dvc.yaml names of a module: its room of pipeline/, and of contracts/ the folder or the single file."""
    _, room, name, *_ = module.split(".")
    if room != "contracts":
        return f"pipeline/{room}"
    return f"pipeline/contracts/{name}" if (PROJECT / "pipeline/contracts" / name).is_dir() else f"pipeline/contracts/{name}.py"


def test_every_stage_declares_exactly_the_code_it_imports() -> None:
    graph = grimp.build_graph("pipeline")
    assert set(graph_file()["stages"]) == set(ENTRIES)
    for stage, entry in ENTRIES.items():
        needed, declared = closure(entry, graph), declared_code(stage)
        assert declared == needed, f"{stage}: add {sorted(needed - declared)}, remove {sorted(declared - needed)}"


def test_every_stage_runs_its_entry() -> None:
    for stage, entry in ENTRIES.items():
        content = graph_file()["stages"][stage]
        assert content.get("do", content)["cmd"] == f"sh pipeline/python.sh -m {entry.removesuffix('.__main__')}", "commands hold no data"
        assert stage == GUARD or "data/names.json" in content.get("do", content)["deps"]


def test_dvc_keeps_the_runs_of_every_stage_that_makes_its_outputs_alone() -> None:
    """DVC restores no run of a stage whose output stays in place, or lies in Git and is neither metric nor plot.

    A collection grows in place, and the stage names writes records of data sets, which it has to do in every checkout.
    """
    without = set()
    for stage, content in graph_file()["stages"].items():
        outputs = content.get("do", content).get("outs", [])
        if any(isinstance(output, dict) and {"persist", "cache"} & set(next(iter(output.values()))) for output in outputs):
            without.add(stage)
    assert without == {"collection", GUARD}


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
PARAMETERS |= {"finetune": STEPS} | STUDIES
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
    names = {"names"} if path == "network.name" or path.startswith(tuple(f"{section}." for section in NAMED)) else set()
    return REACH[max(starts, key=len)] | names


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
        ensure_source_records(PARAMETERS["datasets"])
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
                    found |= {stage} | {later for later in graph if stage in ancestors(graph, later) and stage.name != GUARD}
            return {stage.addressing.rpartition(":")[2] for stage in found}
    finally:
        os.chdir(before)


def ancestors(graph: Any, node: Any) -> set[Any]:
    import networkx

    return set(networkx.ancestors(graph, node))


@pytest.mark.slow
def test_nothing_is_to_run_when_nothing_changed(repository: Path) -> None:
    assert stages_to_run(repository, PARAMETERS) == set()


def resolved(text: str, key: str, item: Any) -> str:
    """A text of dvc.yaml with the values of its `${…}`."""

    def value(match: re.Match[str]) -> str:
        head, _, rest = match.group(1).partition(".")
        found: Any = {"key": key, "item": item}.get(head, PARAMETERS.get(head))
        for name in filter(None, rest.split(".")):
            found = found[name]
        return str(found)

    return re.sub(r"\$\{([\w.]+)\}", value, text)


def interpolated(text: str, over: str, key: str) -> set[str]:
    """The parameters that a text of dvc.yaml takes values from."""
    names = re.findall(r"\$\{([\w.]+)\}", text)
    own = {f"{over}.{key}.{name.removeprefix('item.')}" for name in names if name.startswith("item.")}
    return own | {name for name in names if name != "key" and not name.startswith("item.")}


@dataclass(frozen=True)
class Declared:
    """A stage as dvc.yaml declares it: sections that it reads, parameters whose values stand in its texts, and paths."""

    sections: set[str]
    values: set[str]
    reads: set[str]
    writes: set[str]

    def depends_on(self, leaf: str) -> bool:
        return leaf in self.values or any(leaf == section or leaf.startswith(section + ".") for section in self.sections)


def names_of(entries: list[Any]) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def declared_stages() -> dict[str, Declared]:
    found = {}
    for name, content in graph_file()["stages"].items():
        over = content["foreach"].strip("${}") if "foreach" in content else ""
        body = content.get("do", content)
        for key, item in PARAMETERS[over].items() if over else [("", None)]:
            params, deps = body.get("params", []), body["deps"]
            outs = names_of([*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])])
            used = set[str]().union(*(interpolated(text, over, key) for text in [body["cmd"], *params, *deps, *outs]))
            sections, reads, writes = ({resolved(text, key, item) for text in texts} for texts in (params, deps, outs))
            found[f"{name}@{key}" if over else name] = Declared(sections, used, reads, writes)
    return found


def overlap(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


def static_reach(stages: dict[str, Declared], leaf: str) -> set[str]:
    """The stages that depend on a parameter, and all that read what these write."""
    found = {name for name, stage in stages.items() if stage.depends_on(leaf)}
    while True:
        written = {path for name in found if name != GUARD for path in stages[name].writes}
        more = {name for name, stage in stages.items() if any(overlap(read, path) for read in stage.reads for path in written)}
        if more <= found:
            return found
        found |= more


STAGES = declared_stages()


@pytest.mark.parametrize("path", LEAVES)
def test_every_parameter_reaches_exactly_the_affected_stages(path: str) -> None:
    assert static_reach(STAGES, path) == expected_reach(path)


def one_leaf_of_each() -> list[str]:
    """The first parameter under every declared section that has one of its own."""
    chosen: dict[str, str] = {}
    for path in LEAVES:
        chosen.setdefault(max((start for start in REACH if path == start or path.startswith(start + ".")), key=len), path)
    return sorted(chosen.values())


@pytest.mark.slow
@pytest.mark.parametrize("path", one_leaf_of_each())
def test_dvc_reruns_exactly_the_affected_stages(repository: Path, path: str) -> None:
    assert stages_to_run(repository, changed(path)) == expected_reach(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("pipeline/evaluation/protocols.py", {"evaluate@gallery", "report"}),
        ("pipeline/contracts/protocols.py", {"evaluate@gallery", "report"}),
        ("pipeline/reranking/shortlists.py", AFTER_SEARCH),
        ("pipeline/hashing/itq.py", AFTER_HASH),
        (
            "pipeline/aggregation/pooling.py",
            AFTER_LEARN | {"masks@gallery", "patch_similarity@gallery", "region_precision@gallery", "class_activations@gallery"},
        ),
        ("pipeline/acquisition/gallery.py", AFTER_RESIZE | {"download@gallery", "download@none"}),
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
