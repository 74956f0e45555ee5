"""The stage graph of dvc.yaml and what differs from dvc.lock, by DVC's Python API."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.stage.errors import ParameterError, PipelineError

GUARD = "names"
"""The stage that all others depend on and whose output never changes: it blocks them, and never makes them run."""
Kind = Literal["new", "command", "parameter", "dependency", "output", "always"]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: as `dvc repro` takes it, `extract@gallery`.
        outputs, dependencies: paths from the project's folder, in the order of dvc.yaml.
        upstream: names of the stages whose outputs it reads.
    """

    name: str
    description: str
    outputs: tuple[str, ...]
    dependencies: tuple[str, ...]
    upstream: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The name in dvc.yaml: `extract`."""
        return self.name.partition("@")[0]


@dataclass(frozen=True)
class Change:
    """One difference between the work tree and dvc.lock; `path` is a parameter, dependency or output."""

    kind: Kind
    path: str = ""
    detail: str = ""

    def __str__(self) -> str:
        texts = {"new": "has not run yet", "command": "the command changed", "always": "always runs"}
        return texts.get(self.kind) or f"{self.path} {self.detail}"


class StageGraph:
    """The graph of one checkout, read while DVC's lock is held; use `open_graph`.

    Attributes:
        stages: every stage after those it depends on.
    """

    def __init__(self, repo: Any) -> None:
        self._repo = repo
        self._found = {_name(stage): stage for stage in repo.index.stages}
        self.stages = tuple(self._stages())

    def _stages(self) -> Iterator[Stage]:
        import networkx

        graph, order = self._repo.index.graph, list(self._found)
        reads = {_name(stage): {_name(other) for other in graph.successors(stage)} for stage in graph}
        forward = networkx.DiGraph([(before, after) for after, befores in reads.items() for before in befores])
        forward.add_nodes_from(order)
        for name in networkx.lexicographical_topological_sort(forward, key=order.index):
            stage = self._found[name]
            deps = [self._path(dep) for dep in stage.deps if not _is_params(dep)]
            upstream = sorted(reads.get(name, ()), key=order.index)
            yield Stage(name, stage.desc or "", tuple(self._path(out) for out in stage.outs), tuple(deps), tuple(upstream))

    def _path(self, item: Any) -> str:
        return os.path.relpath(str(item.fs_path), str(self._repo.root_dir))

    def changes(self, name: str) -> list[Change]:
        """What makes a stage differ from what dvc.lock says of it."""
        stage = self._found[name]
        if stage.frozen:
            return []
        if not any(item.hash_info for item in (*stage.deps, *stage.outs)):
            return [Change("new")]
        if stage.is_callback or stage.always_changed:
            return [Change("always")]
        found = [Change("command")] if stage.changed_stage() else []
        for dep in stage.deps:
            found += _changed_parameters(dep) if _is_params(dep) else self._status("dependency", dep)
        return found + [change for out in stage.outs for change in self._status("output", out)]

    def _status(self, kind: Kind, item: Any) -> list[Change]:
        texts = {"deleted": "is missing", "modified": "changed", "new": "is new", "not in cache": "is not in the cache"}
        return [Change(kind, self._path(item), texts.get(state, state)) for state in item.status().values()]

    def restored(self, name: str, known: Mapping[str, str]) -> dict[str, str] | None:
        """Checksums by path of the outputs that DVC has kept of an earlier run with the present inputs, or None where it has none.

        Args:
            known: checksums of inputs that are about to be restored themselves.
        """
        from dvc.stage.serialize import to_single_stage_lockfile

        stage = self._found[name]
        if not stage.cmd or stage.frozen or stage.is_callback or stage.always_changed or any(out.persist for out in stage.outs):
            return None
        stage.save_deps(allow_missing=True)
        entry = to_single_stage_lockfile(stage)
        for dep in entry.get("deps", []):
            if dep["path"] in known:
                dep["md5"] = known[dep["path"]]
            elif "md5" not in dep or not Path(self._repo.root_dir, dep["path"]).exists():
                return None
        kept = self._kept_run(entry)
        if kept is None or not _in_cache(stage, kept):
            return None
        return {out["path"]: out["md5"] for out in kept["outs"]}

    def _kept_run(self, entry: Any) -> Any:
        """The newest run that DVC's run cache holds for a stage's inputs."""
        from dvc.stage.cache import _get_cache_hash

        cache = self._repo.stage_cache
        key = _get_cache_hash(entry, key=True)
        folder = Path(cache._get_cache_dir(key))
        entries = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime) if folder.is_dir() else []
        return cache._load_cache(key, entries[-1].name) if entries else None

    def targets(self, names: list[str]) -> set[str]:
        """The named stages and all they depend on; a kind (`extract`) names all its items. All stages where nothing is named.

        Raises:
            ParameterError: no such stage.
        """
        by_name = {stage.name: stage for stage in self.stages}
        chosen = set(by_name) if not names else set()
        for name in names:
            matching = {stage.name for stage in self.stages if name in (stage.name, stage.kind)}
            if not matching:
                raise ParameterError(f"{name}: no such stage; there are: {', '.join(by_name)}")
            chosen |= matching
        for stage in reversed(self.stages):
            if stage.name in chosen:
                chosen |= set(stage.upstream)
        return chosen


@contextmanager
def open_graph(root: Path) -> Iterator[StageGraph]:
    """Hold DVC's lock and read the graph; waits while another DVC process holds it.

    Raises:
        ParameterError: dvc.yaml or params.yaml cannot be read or do not fit together.
        PipelineError: the folder is no DVC project.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
            yield StageGraph(repo)
    except NotDvcRepoError:
        raise PipelineError(f"{root}: no DVC project; run the command in the project's folder") from None
    except DvcException as error:
        why = getattr(error, "exc", None) or error.__cause__
        raise ParameterError(f"dvc.yaml: {' '.join(f'{error} {why or str()}'.split())}") from None


def overridden(content: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Parameters with others set, each `path=value`, `+path=value` or `~path` in the grammar of `dvc exp run --set-param`.

    Raises:
        ParameterError: a path that is not there, or a value that cannot be read.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    touched = _named_part(content, [override.lstrip("+~").partition("=")[0].split(".") for override in overrides])
    with tempfile.TemporaryDirectory(prefix="overrides-") as place:
        copy = Path(place, "params.json")
        copy.write_text(json.dumps(touched), encoding="utf-8")
        try:
            apply_overrides(str(copy), overrides)
        except DvcException as error:
            raise ParameterError(f"{', '.join(overrides)}: {' '.join(str(error).split())}") from None
        return _replaced(content, touched, json.loads(copy.read_text(encoding="utf-8")))


def _named_part(content: dict[str, Any], paths: list[list[str]]) -> dict[str, Any]:
    """Of a tree of parameters what lies on some paths; DVC's overrides take time in proportion to what they are given."""
    found = {}
    for name in {path[0] for path in paths} & content.keys():
        below = [path[1:] for path in paths if path[0] == name]
        value = content[name]
        found[name] = _named_part(value, below) if isinstance(value, dict) and all(below) else value
    return found


def _replaced(content: dict[str, Any], part: dict[str, Any], by: dict[str, Any]) -> dict[str, Any]:
    """A tree of parameters in which another tree replaces a part."""
    found = {name: value for name, value in content.items() if name not in part}
    for name, value in by.items():
        whole, old = content.get(name), part.get(name)
        if isinstance(whole, dict) and isinstance(old, dict) and isinstance(value, dict):
            found[name] = _replaced(whole, old, value)
        else:
            found[name] = value
    return found


def _name(stage: Any) -> str:
    """The stage's name, with the path of its dvc.yaml where that is not the project's own; `addressing` depends on the working directory."""
    return str(stage.name) if stage.path_in_repo == "dvc.yaml" else f"{stage.path_in_repo}:{stage.name}"


def _in_cache(stage: Any, kept: Any) -> bool:
    """True where the cache holds all outputs of a kept run; DVC keeps even those there that Git versions."""
    from dvc.stage.loader import StageLoader

    StageLoader.fill_from_lock(stage, kept)
    for out in stage.outs:
        out.use_cache = True
    return not any(out.changed_cache() for out in stage.outs)


def _is_params(dep: Any) -> bool:
    return hasattr(dep, "params")


def _changed_parameters(dep: Any) -> list[Change]:
    """Every changed value by its full path, with the old and the new one."""
    before = _flat(dep.hash_info.value or {})
    after = _flat({key: value for key, value in dep.read_params().items() if key in dep.params})
    texts = {path: f"{_shown(before, path)} → {_shown(after, path)}" for path in before | after if before.get(path, ...) != after.get(path, ...)}
    return [Change("parameter", path, text) for path, text in texts.items()]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= _flat(value, f"{path}.")
        else:
            found[path] = list(value) if isinstance(value, tuple) else value
    return found


def _shown(values: Mapping[str, Any], path: str) -> str:
    if path not in values:
        return "nothing"
    value = values[path]
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if value is None or isinstance(value, bool) else str(value)
