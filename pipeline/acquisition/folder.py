"""The user's own images: a folder, by sub-folders or by a CSV file.

Without a CSV, a top folder called database, query, held_out or distractor gives the role (all are database otherwise), and the folders
below it name the instance. With a CSV: see image_list.py. The images are packed as they are, so that later stages depend
on their bytes and not on a path of this machine.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import ClassVar

from pydantic import Field

from pipeline.acquisition.image_list import Record, has_rows, read_image_list
from pipeline.acquisition.packing import Packed, PackedDataset, photograph
from pipeline.acquisition.scanning import ENDINGS, Scan, alike, scan, shown
from pipeline.acquisition.sources import DatasetParameters, Photograph, truth_from_instances
from pipeline.acquisition.summary import counts, doubts, left_out
from pipeline.contracts.running.settings import settings
from pipeline.stage.catalogue import ROLES, CatalogueRow, GroundTruth
from pipeline.stage.errors import SourceError
from pipeline.stage.fingerprint import fingerprint


class FolderParameters(DatasetParameters):
    path: str = Field(min_length=1, description="the folder, absolute or from RETRIEVAL_DATA")
    catalogue: str | None = Field(None, description="a CSV file inside the folder; without it the sub-folders count")
    follow_links: bool = Field(False, description="whether links are followed, those that lead outside the folder as well")


@dataclass(frozen=True)
class Contents:
    """What a folder offers: one record per image in a fixed order, and lines that say what else was found."""

    records: list[Record]
    notes: tuple[str, ...]

    @property
    def summary(self) -> list[str]:
        return [counts((record["role"], record["instance"]) for record in self.records), *self.notes]


class Folder(PackedDataset):
    Parameters: ClassVar[type[DatasetParameters]] = FolderParameters
    title = "Your own images: a folder per instance, or a CSV (path, instance, role, box)"
    tolerate = 0.01

    @property
    def root(self) -> Path:
        return settings().data / self._own.path

    @property
    def list_file(self) -> Path | None:
        """The CSV file that decides, where there is one."""
        return self.root / self._own.catalogue if self._own.catalogue else None

    @property
    def _own(self) -> FolderParameters:
        assert isinstance(self.parameters, FolderParameters)
        return self.parameters

    def paths(self) -> set[str]:
        self._digests: dict[str, str] = {}
        self._records: dict[str, list[Record]] = {}
        for record in self.contents.records:
            self._records.setdefault(record["path"], []).append(record)
        return set(self._records)

    def packed(self, paths: list[str]) -> Iterator[Packed]:
        for path in paths:
            data = (self.root / path).read_bytes()
            self._digests[path] = hashlib.sha256(data).hexdigest()
            yield path, data, self._records[path]

    def provenance(self) -> dict[str, object]:
        return {"files": self._digests, "digest": content_digest(self._digests, self.contents.records), "summary": self.contents.summary}

    def summary(self) -> list[str]:
        return self.contents.summary

    @cached_property
    def contents(self) -> Contents:
        """What the folder holds now.

        Raises:
            SourceError: no such folder, no images in it, links that lead outside, or a CSV that does not fit.
        """
        if not self.root.is_dir():
            raise SourceError(f"{self.root}: no such folder; set `path` of the data set, or RETRIEVAL_DATA, the folder it starts from")
        found = scan(self.root, follow_links=self._own.follow_links, known=self._own.catalogue)
        notes = list(left_out(found))
        if self._own.catalogue:
            records = self._listed(self.root / self._own.catalogue)
            unlisted = sorted(set(found.files) - {record["path"] for record in records})
            notes += [f"left out, not in {self._own.catalogue}: {len(unlisted)} ({shown(unlisted)})"] if unlisted else []
        else:
            records = [_by_place(path) for path in found.files]
            self._refuse_empty(records, found)
        return Contents(records, (*notes, *doubts(records, listed=self.list_file is not None)))

    @property
    def present(self) -> list[Record]:
        """The records of what the folder holds now; none where it is empty or is not there."""
        if not self.root.is_dir():
            return []
        if self.list_file:
            return self._listed(self.list_file) if has_rows(self.list_file) else []
        return [_by_place(path) for path in scan(self.root, follow_links=self._own.follow_links).files]

    def _refuse_empty(self, records: list[Record], found: Scan) -> None:
        if not records:
            others = "; ".join(left_out(found))
            raise SourceError(
                f"{self.root}: no images in it; expected files ending in {' '.join(sorted(ENDINGS))}" + (f" ({others})" if others else "")
            )

    def _listed(self, file: Path) -> list[Record]:
        """The records of the CSV, each of whose files is a regular one inside the folder."""
        listed, root = read_image_list(file), os.path.realpath(self.root)
        for line, record in listed:
            where = f"{file}:{line}"
            place = self.root / record["path"]
            inside = Path(os.path.realpath(place)).is_relative_to(root)
            if os.path.isabs(record["path"]) or ".." in Path(record["path"]).parts or (not inside and not self._own.follow_links):
                raise SourceError(f"{where}: {record['path']} lies outside {self.root}; name files by their path inside the folder")
            try:
                kind = place.stat().st_mode
            except OSError:
                near = _like(self.root, record["path"])
                hint = f"; there is {near!r}, which differs in its characters" if near else ""
                raise SourceError(f"{where}: {record['path']}: no such file in {self.root}{hint}") from None
            if not stat.S_ISREG(kind):
                raise SourceError(f"{where}: {record['path']} is not a regular file")
        return [record for _, record in listed]

    def source_photographs(self) -> Iterator[Photograph]:
        """The photographs as they lie in the folder now, sorted by path."""
        for record in sorted(self.contents.records, key=lambda record: record["path"]):
            data = (self.root / record["path"]).read_bytes()
            yield photograph(record, data)

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return truth_from_instances(rows)


def content_digest(files: Mapping[str, str], records: list[Record]) -> str:
    """Equal for folders of equal photographs with equal roles, instances and boxes.

    Args:
        files: SHA-256 by path.
    """
    return fingerprint(sorted(files.items()), sorted(sorted(record.items()) for record in records))


def _like(root: Path, path: str) -> str | None:
    """A file of the folder whose path looks the same: in another normal form of Unicode, in other case, or with / for \\."""
    wanted = path.replace("\\", "/")
    if (root / wanted).is_file():
        return wanted
    folder = (root / wanted).parent
    names = os.listdir(folder) if folder.is_dir() else []
    found = next((name for name in names if alike(name) == alike(PurePosixPath(wanted).name)), None)
    return None if found is None else (PurePosixPath(wanted).parent / found).as_posix()


def _by_place(path: str) -> Record:
    """The record of a file whose folders name its role and its instance."""
    *folders, _ = path.split("/")
    role = folders.pop(0) if folders and folders[0] in ROLES else "database"
    return {"id": path, "path": path, "instance": "/".join(folders), "role": role, "box": ""}
