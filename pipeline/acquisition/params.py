"""The sections datasets.NAME of params.yaml: each names its source, and the source says what else may stand there."""

from pathlib import Path
from typing import Any

from pipeline.acquisition.registry import DATASETS
from pipeline.acquisition.sources import Dataset
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import PARAMS_FILE, read_section, validate


def load_dataset(name: str, file: Path | None = None) -> Dataset:
    """The data set that section datasets.NAME describes.

    Raises:
        ParameterError: no such section, an unknown source, or parameters that the source does not take.
    """
    return dataset_from(read_section(f"datasets.{name}", file), f"datasets.{name}", str(file or PARAMS_FILE))


def dataset_from(section: Any, path: str, origin: str) -> Dataset:
    """The data set of a raw section."""
    source = section.get("source") if isinstance(section, dict) else None
    if source not in DATASETS:
        raise ParameterError(f"{origin}: {path}.source: {source!r} is unknown; allowed: {', '.join(DATASETS)}")
    kind = DATASETS[source]
    return kind(validate(kind.Parameters, section, path, origin))
