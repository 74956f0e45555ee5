"""Comparing the results of two commits, or of a commit and the work tree: their files are laid out side by side and handed to
pipeline.comparison; and what of the outcome keeps results back."""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.stage import places
from pipeline.stage.errors import ParameterError, PipelineError
from pipeline.stage.tables import write_json
from tasks.processes import run_checked
from tasks.records import lock_entries, recall
from tasks.workspace import git, is_repository

FILES = ("params.yaml", "dvc.lock", "reports/metrics", "reports/per_query")
WORK_TREE = "work tree"


@dataclass(frozen=True)
class Compared:
    """A comparison: as Markdown, and as data (pipeline.comparison.comparing.Comparison)."""

    markdown: str
    content: dict[str, Any]

    @property
    def verdict(self) -> str:
        return str(self.content["verdict"])


def compare(
    root: Path,
    before: str = "HEAD",
    after: str = "",
    *,
    markdown: Path | None = None,
    html: Path | None = None,
    json_file: Path | None = None,
    show: bool = False,
) -> Compared:
    """Compare two revisions.

    Args:
        before, after: what git understands; empty for the work tree.
        markdown, html, json_file: files to write as well.
        show: print tables on the terminal.

    Raises:
        ParameterError: no such revision.
        PipelineError: not a Git checkout, or files that cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="comparison-") as place:
        folder = Path(place)
        for name, revision in (("before", before), ("after", after)):
            _lay_out(root, revision, folder / name)
            if html:
                _lay_out_rankings(root, revision, folder / name)
        texts, data = markdown or folder / "comparison.md", json_file or folder / "comparison.json"
        command = [sys.executable, "-m", "pipeline.comparison", str(folder / "before"), str(folder / "after")]
        command += ["--markdown", str(texts.resolve()), "--json", str(data.resolve()), *(["--html", str(html.resolve())] if html else [])]
        if not show:
            run_checked(root, *command, "--quiet")
        elif subprocess.run(command, cwd=root, check=False).returncode:
            raise PipelineError("the comparison failed; its last line says why")
        return Compared(texts.read_text(encoding="utf-8"), json.loads(data.read_text(encoding="utf-8")))


def metrics_markdown(root: Path) -> str:
    """The work tree's metrics against the last recorded ones; without any, against themselves."""
    try:
        return compare(root, last_results(root) if is_repository(root) else "", "").markdown
    except PipelineError as error:
        return f"No comparison: {error}"


def _lay_out(root: Path, revision: str, folder: Path) -> None:
    """Write a revision's result files into a folder, with what it is called and how long its stages took."""
    for name in _names(root, revision):
        content = (root / name).read_text(encoding="utf-8") if not revision else git(root, "show", f"{revision}:{name}")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content + ("" if content.endswith("\n") else "\n"), encoding="utf-8")
    lock = folder / "dvc.lock"
    entries = lock_entries(lock.read_text(encoding="utf-8")) if lock.exists() else {}
    title = git(root, "log", "-1", "--format=%h %s", revision) if revision else WORK_TREE
    write_json(folder / "about.json", {"title": title, "seconds": _seconds(root, entries)})


def _lay_out_rankings(root: Path, revision: str, folder: Path) -> None:
    """Add the rankings and labels of a revision's benchmarks, as far as they are still there."""
    folders = [places.rankings(file.stem) for file in sorted((folder / "reports/metrics").glob("*.json"))]
    if revision:
        from tasks.past_outputs import copy_past_outputs

        copy_past_outputs(root, revision, [path.as_posix() for path in folders], "[cr]*-*.parquet", folder)
        return
    for path in folders:
        for file in sorted((root / path).glob("[cr]*-*.parquet")):
            (folder / path).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / path / file.name)


def _names(root: Path, revision: str) -> list[str]:
    if not revision:
        found = [path for name in FILES for path in ([root / name] if (root / name).is_file() else sorted((root / name).glob("*.*")))]
        return [path.relative_to(root).as_posix() for path in found if not path.name.startswith(".")]
    try:
        return git(root, "ls-tree", "-r", "--name-only", "--end-of-options", f"{revision}^{{commit}}", "--", *FILES).splitlines()
    except PipelineError:
        raise ParameterError(f"{revision}: not a commit of this checkout; `git log` lists them") from None


def _seconds(root: Path, entries: dict[str, dict[str, Any]]) -> dict[str, float]:
    """How long each stage's run took, where a flow ran it here."""
    records = {name: recall(root, name, entry) for name, entry in entries.items()}
    return {name: record.seconds for name, record in records.items() if record is not None}


def last_results(root: Path) -> str:
    """The last commit that recorded results."""
    return git(root, "log", "-1", "--format=%H", "--", "dvc.lock", "reports") or "HEAD"


def refuse_drops(compared: Compared, largest: float) -> str:
    """Keep results back in which a mean average precision surely fell by more than `largest`, or fell so where nothing can be tested.

    Raises:
        PipelineError: names the benchmarks and how to accept them.
    """
    fallen = []
    for benchmark in compared.content["benchmarks"]:
        for metric in benchmark["metrics"]:
            paired, fall = metric["paired"], metric["before"] - metric["after"]
            sure = paired is None or (paired["high"] < 0 and paired["p_value"] < 0.05)
            if metric["name"] == "map" and sure and (fall if paired is None else -paired["mean"]) > largest:
                fallen.append(f"{benchmark['benchmark']} {benchmark['setting']} {metric['before']:.4f} to {metric['after']:.4f}")
    if fallen:
        raise PipelineError(f"mAP fell by more than {largest:g}: {'; '.join(fallen)}; nothing was committed, accept with largest_drop: null")
    return "No mean average precision fell by more than chance and the limit."
