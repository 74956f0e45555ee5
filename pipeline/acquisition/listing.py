"""The list of data sets: every source with its size, and the state of those that params.yaml names."""

from pathlib import Path

from pipeline.acquisition.params import load_dataset
from pipeline.acquisition.registry import DATASETS
from pipeline.stage import places
from pipeline.stage.checksums import MANIFEST
from pipeline.stage.parameters import read_section


def print_datasets() -> None:
    """Print two tables: sources, and the data sets of params.yaml."""
    from rich.console import Console
    from rich.table import Table

    sources = Table(title="Sources (`source` of a data set in params.yaml)")
    for heading in ("source", "images", "queries", "download", "what it is"):
        sources.add_column(heading, justify="right" if heading in ("images", "queries", "download") else "left")
    for name, kind in DATASETS.items():
        size = "none" if kind.megabytes is None else f"{kind.megabytes / 1000:.1f} GB"
        sources.add_row(name, _number(kind.images), _number(kind.queries), size, kind.title)
    used = Table(title="Data sets of params.yaml")
    for heading in ("name", "source", "state"):
        used.add_column(heading)
    for name in read_section("datasets"):
        used.add_row(name, load_dataset(name).parameters.source, state_of(name))
    console = Console()
    console.print(sources)
    console.print(used)


def state_of(name: str) -> str:
    """How far a data set has come: images ready, downloaded, downloading, or nothing yet."""
    for place, state in ((places.IMAGES, "images ready"), (places.RAW, "downloaded")):
        if (place / name / MANIFEST).exists():
            return state
    return "downloading" if Path(".scratch", f"download-{name}").exists() else "not downloaded"


def _number(count: int | None) -> str:
    return "yours" if count is None else str(count)
