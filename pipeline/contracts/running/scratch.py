"""The scratch store: finished shards of an unfinished stage, kept outside its outputs so that a killed run resumes.

Shards lie under SCRATCH/STAGE/FINGERPRINT/, the fingerprint made of parameters, input and code: whatever changes the
result starts a fresh store. DVC removes a stage's outputs before it runs, which is why they cannot serve.
"""

import os
import shutil
from pathlib import Path

from pipeline.contracts.running.settings import settings
from pipeline.stage.manifest import Facts, Manifest, describe_parts


class ScratchStore:
    """Files of one stage and item, identified by a fingerprint."""

    def __init__(self, stage: str, fingerprint: str) -> None:
        self.home = settings().scratch / stage
        self.folder = self.home / fingerprint
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*.partial"):
            leftover.unlink()

    def path(self, name: str) -> Path:
        return self.folder / name

    def has(self, *names: str) -> bool:
        """True when all the named files are finished."""
        return all(self.path(name).exists() for name in names)

    def publish(self, destination: Path, names: list[str], kind: str, facts: Facts | None = None) -> Manifest:
        """Link exactly the named files into a fresh folder next to a manifest, then delete the store."""
        for leftover in destination.parent.glob(f".{destination.name}.*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        staging = destination.with_name(f".{destination.name}.{os.getpid()}.partial")
        staging.mkdir(parents=True)
        try:
            for name in names:
                link_or_copy(self.path(name), staging / name)
            manifest = Manifest(kind, describe_parts(staging, names), facts.model_dump(mode="json") if facts else {})
            manifest.save(staging)
            if destination.exists():
                shutil.rmtree(destination)
            staging.rename(destination)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)
        return manifest


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the other name lies on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
