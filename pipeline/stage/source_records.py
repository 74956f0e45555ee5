"""What is known of the source of each data set: data/sources/DATASET.json, a small file in Git that the stage download depends on.

A folder of photographs changes without DVC's notice. `retrieval scan` writes what it holds into its record, so that a changed folder is a
changed input. The record of any other source, and of a folder that nobody has scanned yet, names the source alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.stage import places
from pipeline.stage.tables import read_json, write_json


@dataclass(frozen=True)
class SourceRecord:
    """Attributes:
    files, bytes: photographs, and their size together; None where nobody counted.
    digest: of their paths, contents, roles, instances and boxes.
    """

    source: str
    files: int | None = None
    bytes: int | None = None
    digest: str | None = None


def write_source_record(dataset: str, record: SourceRecord) -> bool:
    """Write a record, unless it is there as it is; returns whether it changed."""
    content = {name: value for name, value in asdict(record).items() if value is not None}
    path = places.source_record(dataset)
    if path.exists() and read_json(path) == content:
        return False
    write_json(path, content)
    return True


def ensure_source_records(datasets: Mapping[str, Any]) -> None:
    """Write the records that are missing, or that are of another source, of every data set of params.yaml."""
    for name, section in datasets.items():
        source = str(section.get("source")) if isinstance(section, dict) else ""
        path = places.source_record(name)
        if not path.exists() or read_json(path).get("source") != source:
            write_source_record(name, SourceRecord(source))
