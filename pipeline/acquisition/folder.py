"""The user's own images: a folder, by sub-folders or by a CSV file.

Without a CSV, the folder that directly holds an image names its instance, and a top folder called database, query, held_out
or distractor gives the role (all are database otherwise). With a CSV: columns `path` and, as wanted, `instance`, `role`,
`box` ("x0 y0 x1 y1" in pixels) and `id`. The images are packed as they are into one tar, so that later stages depend on
their bytes and not on a path of this machine.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from pydantic import Field

from pipeline.acquisition.archives import members
from pipeline.acquisition.sources import Dataset, DatasetParameters, Photograph, truth_from_instances
from pipeline.contracts.settings import settings
from pipeline.stage.catalogue import ROLES, Box, CatalogueRow, GroundTruth
from pipeline.stage.errors import SourceError
from pipeline.stage.tables import replacing
from pipeline.stage.text_tables import read_csv, write_csv

EXTENSIONS = frozenset([".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".ppm", ".pgm", ".jp2"])
ARCHIVE, CATALOGUE = "images.tar", "catalogue.csv"
COLUMNS = ("id", "path", "instance", "role", "box")


class FolderParameters(DatasetParameters):
    path: str = Field(min_length=1, description="the folder, absolute or from RETRIEVAL_DATA")
    catalogue: str | None = Field(None, description="a CSV file inside the folder; without it the sub-folders count")


class Folder(Dataset):
    Parameters: ClassVar[type[DatasetParameters]] = FolderParameters
    title = "Your own images: a folder per instance, or a CSV (path, instance, role, box)"

    @property
    def root(self) -> Path:
        assert isinstance(self.parameters, FolderParameters)
        return settings().data / self.parameters.path

    def make(self, folder: Path) -> list[str]:
        records = self.records()
        write_csv(folder / CATALOGUE, COLUMNS, records)
        self._digests: dict[str, str] = {}
        pack(folder / ARCHIVE, self._files(sorted({record["path"] for record in records})))
        return [ARCHIVE, CATALOGUE]

    def provenance(self) -> dict[str, object]:
        return {"files": self._digests}

    def _files(self, paths: list[str]) -> Iterator[tuple[str, bytes]]:
        for path in paths:
            data = (self.root / path).read_bytes()
            self._digests[path] = hashlib.sha256(data).hexdigest()
            yield path, data

    def records(self) -> list[dict[str, str]]:
        """One record per image with the keys of COLUMNS, in a fixed order.

        Raises:
            SourceError: no such folder, no images in it, or a CSV that does not fit.
        """
        assert isinstance(self.parameters, FolderParameters)
        if not self.root.is_dir():
            raise SourceError(f"{self.root}: no such folder; set `path` of the data set, or RETRIEVAL_DATA, the folder it starts from")
        if self.parameters.catalogue:
            records = read_catalogue_csv(self.root / self.parameters.catalogue)
            for record in records:
                path = self.root / record["path"]
                if not path.is_file() or not path.resolve().is_relative_to(self.root.resolve()):
                    raise SourceError(f"{self.root / self.parameters.catalogue}: {record['path']} is not a file inside {self.root}")
        else:
            records = [_by_place(path.relative_to(self.root)) for path in sorted(self.root.rglob("*")) if path.suffix.lower() in EXTENSIONS]
        if not records:
            raise SourceError(f"{self.root}: no images in it; expected files ending in {' '.join(sorted(EXTENSIONS))}")
        return records

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        return packed_photographs(raw)

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return truth_from_instances(rows)


def _by_place(path: Path) -> dict[str, str]:
    parts = path.parts
    role = parts[0] if len(parts) > 1 and parts[0] in ROLES else "database"
    named = len(parts) > (2 if parts[0] in ROLES else 1)
    return {"id": path.as_posix(), "path": path.as_posix(), "instance": parts[-2] if named else "", "role": role, "box": ""}


def read_catalogue_csv(path: Path) -> list[dict[str, str]]:
    """Read and check a catalogue in CSV.

    Raises:
        SourceError: names the file and line of what does not fit.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not a readable UTF-8 CSV file ({error})") from None
    try:
        columns, rows = read_csv(io.StringIO(text))
    except ValueError as error:
        raise SourceError(f"{path}: not a table ({error}); expected as many cells in each row as there are columns") from None
    unknown = set(columns) - set(COLUMNS)
    if unknown or "path" not in columns:
        raise SourceError(f"{path}: columns are {', '.join(columns or ['none'])}; allowed: {', '.join(COLUMNS)}, and path is needed")
    records, seen = [], set()
    for line, row in enumerate(rows, start=2):
        record = {name: row.get(name, "").strip() for name in COLUMNS}
        record["path"] = PurePosixPath(record["path"]).as_posix()
        record["id"] = record["id"] or record["path"]
        record["role"] = record["role"] or "database"
        if record["role"] not in ROLES:
            raise SourceError(f"{path}:{line}: role {record['role']!r}; allowed: {', '.join(ROLES)}")
        if record["id"] in seen:
            raise SourceError(f"{path}:{line}: two images have the id {record['id']!r}; give the column `id` distinct values")
        seen.add(record["id"])
        parse_box(record["box"], f"{path}:{line}")
        records.append(record)
    return records


def parse_box(text: str, where: str) -> Box | None:
    """'x0 y0 x1 y1' as a box; an empty text is none.

    Raises:
        SourceError: not four numbers, or empty.
    """
    if not text:
        return None
    try:
        x0, y0, x1, y1 = (float(value) for value in text.replace(",", " ").split())
    except ValueError:
        raise SourceError(f"{where}: box {text!r}; expected four numbers: x0 y0 x1 y1") from None
    if not (x1 > x0 and y1 > y0):
        raise SourceError(f"{where}: box {text!r} is empty; expected x0 < x1 and y0 < y1")
    return (x0, y0, x1, y1)


def pack(path: Path, files: Iterator[tuple[str, bytes]]) -> None:
    """Write (name, content) pairs into an uncompressed tar with bytes that depend on nothing else."""
    with replacing(path) as partial, tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def packed_photographs(raw: Path) -> Iterator[Photograph]:
    """Stream what `pack` and `write_csv` wrote into a raw folder."""
    records: dict[str, list[dict[str, str]]] = {}
    for record in read_catalogue_csv(raw / CATALOGUE):
        records.setdefault(record["path"], []).append(record)
    for path, data in members(raw / ARCHIVE):
        for record in records.get(path, ()):
            yield Photograph(record["id"], path, data, record["role"], record["instance"] or None, parse_box(record["box"], path))
