"""A small copy of the project in its own repository, with DVC run as a user without an activated environment would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipeline.contracts.images.image_shards import read_images
from pipeline.stage.catalogue import read_catalogue
from pipeline.stage.manifest import load_manifest
from tests import warm_python
from tests.conftest import MEASURED, PROJECT
from tests.params_file import set_at

SMALL: dict[str, Any] = {
    "datasets.gallery": {"source": "gallery", "instances": 5, "references": 2, "queries": 1, "held_out": 2},
    "resize.pixels": 256,
    "benchmarks.gallery.kept_back": 0.0,
    "extract.shard_mib": 1,
    "aggregate.rmac.regional_dimensions": 16,
    "report": {"best": 2, "worst": 2, "results": 3, "thumbnail": 32},
}
"""Five instances: 10 database images, 5 queries, 64 held-out photographs."""
METHOD = tuple(f"{stage}@gallery" for stage in ("learn", "aggregate", "aggregate_distractors", "hash", "search", "collection", "evaluate"))
"""What runs when another way of describing is chosen, in order; the report follows."""
SWEEP = "components_gallery"
"""The study that copies show: figures of all of them take the report's stage seconds."""
LINKED = (".dvc/cache", "data")
"""What a copy shares with its origin: DVC never changes these files, it replaces them."""


class Project:
    """The copy; its commands run with a PATH that knows no environment.

    Args:
        flows: copy what orchestration needs, too.
        origin: a project whose results it has from the start.
    """

    def __init__(self, folder: Path, *, flows: bool = False, origin: "Project | None" = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        files = ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", *(("prefect.yaml", "prefect.toml") if flows else ()))
        for name in files:
            shutil.copy(PROJECT / name, folder / name)
        for name in ("pipeline", *(("cli", "flows", "tasks") if flows else ())):
            shutil.copytree(PROJECT / name, folder / name)  # with its compiled files, which are as good in the copy
        self._add_reports()
        (folder / ".dvc").mkdir()
        shutil.copy(PROJECT / ".dvc" / "config", folder / ".dvc" / "config")
        subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, check=True)
        for path, value in SMALL.items():
            self.change(path, value)
        if origin is not None:
            self._take_over(origin.folder)

    def _add_reports(self) -> None:
        """What of reports/ is in Git, without the results of benchmarks."""
        (self.folder / "reports/sweeps").mkdir(parents=True)
        for kind in ("csv", "json", "md"):
            shutil.copy(PROJECT / f"reports/sweeps/{SWEEP}.{kind}", self.folder / "reports/sweeps")
        for name in ("training", "masks", "patch_similarity", "regions", "activations"):
            (self.folder / "reports" / name).mkdir()
            (self.folder / "reports" / name / ".gitkeep").touch()
        for name in MEASURED:
            shutil.copy(PROJECT / "reports" / name, self.folder / "reports")

    def _take_over(self, origin: Path) -> None:
        for name in LINKED:
            shutil.copytree(origin / name, self.folder / name, copy_function=_link_unless_held, symlinks=True)
        shutil.rmtree(self.folder / "reports")
        shutil.copytree(origin / "reports", self.folder / "reports", symlinks=True)
        for name in ("dvc.lock", "params.yaml"):
            shutil.copy(origin / name, self.folder / name)

    @property
    def environment(self) -> dict[str, str]:
        foreign = ("RETRIEVAL_", "VIRTUAL_ENV", "PYTHON")
        kept = {key: value for key, value in os.environ.items() if key == "RETRIEVAL_WORKERS" or not key.startswith(foreign)}
        return kept | {"PATH": "/usr/local/bin:/usr/bin:/bin"}

    @property
    def params(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load((self.folder / "params.yaml").read_text(encoding="utf-8"))
        return content

    def change(self, path: str, value: object) -> None:
        """Change one value of params.yaml."""
        content = self.params
        set_at(content, path, value)
        self.write_params(content)

    def write_params(self, content: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        """Start `dvc` in a process group of its own, by the ordinary Python, which it and the stages find themselves."""
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment | options.pop("env", {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    def dvc(self, *arguments: str) -> str:
        """Run `dvc` to its end and return what it printed; it and the stages start with their libraries loaded."""
        command = [warm_python.for_dvc(), "-m", "dvc", *arguments]
        environment = self.environment | {"RETRIEVAL_PYTHON": warm_python.for_stages()}
        done = subprocess.run(command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def git(self, *arguments: str) -> str:
        """Run git and return what it printed."""
        done = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit_all(self, message: str) -> None:
        self.git("add", "--all")
        self.git("-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "--quiet", "--allow-empty", "--message", message)

    def repro(self, *targets: str) -> set[str]:
        """`dvc repro`; returns the stages that ran."""
        return ran_in(self.dvc("repro", *targets))

    def stage(self, name: str, python: str | None = None, **variables: str) -> "subprocess.Popen[str]":
        """Start a stage by its command in dvc.yaml, without DVC, in a process group of its own."""
        stages = yaml.safe_load((self.folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        content = stages[name.partition("@")[0]]
        environment = self.environment | {"RETRIEVAL_PYTHON": python or warm_python.for_stages(), "DVC_STAGE": name} | variables
        return subprocess.Popen(
            ["/bin/sh", "-c", content.get("do", content)["cmd"]],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def make(self, *stages: str) -> None:
        """Run stages one after the other by their commands alone: DVC's part, which other tests show, takes longer than these stages."""
        for name in stages:
            process = self.stage(name)
            output, _ = process.communicate()
            assert process.returncode == 0, f"{name}: {output}"

    def record(self) -> None:
        """Let DVC take what `make` made, up to the report, for the results of its stages, as if it had run them."""
        self.dvc("commit", "--force", "--with-deps", "report")

    def would_run(self, *targets: str) -> set[str]:
        """Stages that `dvc repro` would run, as far as it can say beforehand."""
        return ran_in(self.dvc("repro", "--dry", *targets))

    def affected(self) -> set[str]:
        """Stages up to the report that `dvc repro` would run, with those that read what these write, by what dvc.lock says of both."""
        stages = yaml.safe_load((self.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
        found, waiting = set[str](), sorted(self.would_run("report"))
        while waiting:
            found.add(name := waiting.pop())
            written = [out["path"] for out in stages[name]["outs"]] if name != "names" else []
            for other, entry in stages.items():
                read = [dep["path"] for dep in entry.get("deps", ())]
                if other not in found and any(out == path or out.startswith(f"{path}/") for out in written for path in read):
                    waiting.append(other)
        return found

    def mix_in_copies(self, folder: Path) -> None:
        """Make the benchmark's distractors copies of its own database images, kept in `folder`, and import these; `original_id` tells whose."""
        images = self.folder / "data/images/gallery"
        database = {row.image_id for row in read_catalogue(images / "catalogue.parquet") if row.role == "database"}
        copies = folder / "distractor"
        copies.mkdir(parents=True)
        for path in load_manifest(images, "images").paths(images):
            for stored in read_images(path, database):
                (copies / f"{stored.image_id.replace('/', '+')}.png").write_bytes(stored.bytes)
        self.change("datasets.copies", {"source": "folder", "path": str(folder)})
        self.change("benchmarks.gallery.distractors", "copies")
        self.make("names", "download@copies", "resize@copies")


def _link_unless_held(origin: str, copy: str) -> None:
    """Link a file; copy those of a collection, which stay as long as anybody holds the file, by whatever name."""
    (shutil.copy2 if "/data/collection/" in origin else os.link)(origin, copy)


def ran_in(output: str) -> set[str]:
    """The stages that DVC says it runs."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def original_id(image_id: str) -> str:
    """The id of the database image that a distractor was copied from; any other id as it is."""
    return PurePosixPath(image_id).stem.replace("+", "/") if "+" in image_id else image_id
