"""data/raw/DATASET without the stage that makes it."""

from pathlib import Path

from pipeline.acquisition.packing import KIND
from pipeline.acquisition.sources import Dataset
from pipeline.stage.manifest import Manifest, describe_parts


def make_raw(dataset: Dataset, raw: Path) -> Path:
    """Have a data set make its files in a folder, with their manifest; returns the folder."""
    raw.mkdir(exist_ok=True)
    describe_raw(raw, dataset.make(raw))
    return raw


def describe_raw(raw: Path, names: list[str]) -> None:
    """Write the manifest of the files as they are."""
    Manifest(KIND, describe_parts(raw, names)).save(raw)
