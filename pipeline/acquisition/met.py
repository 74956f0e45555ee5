"""The Met: 397,121 photographs of 224,408 exhibits by the museum, and visitors' photographs that ask (Ypsilantis et al., NeurIPS 2021 datasets).

Most queries show no exhibit: other works of art, or none. They have no instance, and count in µAP, which every answer takes part in.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipeline.acquisition.archives import members
from pipeline.acquisition.boxed_benchmark import images_of
from pipeline.acquisition.sources import Dataset, DatasetParameters, Photograph, truth_from_instances
from pipeline.downloads.remote_file import RemoteFile
from pipeline.stage.catalogue import CatalogueRow, GroundTruth
from pipeline.stage.errors import SourceError

ADDRESS = "http://ptak.felk.cvut.cz/met/dataset"
TRUTH = RemoteFile(f"{ADDRESS}/ground_truth.tar.gz", "ground_truth.tar.gz")
DATABASES = {"full": ("MET.tar.gz", "MET_database.json"), "small": ("small_MET.tar.gz", "mini_MET_database.json")}
"""The archive and the list of each database."""
LISTS = {"test": "testset.json", "validation": "valset.json"}
EXHIBITS, OTHERS = "test_met.tar.gz", ("test_other.tar.gz", "test_noart.tar.gz")
"""Archives of the queries that show an exhibit, and of those that show none; both lists of queries choose from them."""


class MetParameters(DatasetParameters):
    database: Literal["full", "small"] = Field("full", description="all exhibits, or the publishers' selection of 33,501 of them")
    queries: Literal["test", "validation"] = Field("test", description="which of the publishers' two lists asks")
    others: bool = Field(True, description="whether photographs that show no exhibit ask as well, which µAP is about")


class Met(Dataset):
    Parameters: ClassVar[type[DatasetParameters]] = MetParameters
    title = "The Met: exhibits of a museum, asked for by visitors' photographs"
    images, queries, megabytes = 416440, 19319, 30000

    @property
    def _own(self) -> MetParameters:
        assert isinstance(self.parameters, MetParameters)
        return self.parameters

    def _archives(self) -> tuple[str, ...]:
        return (DATABASES[self._own.database][0], EXHIBITS, *(OTHERS if self._own.others else ()))

    def files(self) -> tuple[RemoteFile, ...]:
        return (TRUTH, *(RemoteFile(f"{ADDRESS}/{name}", name) for name in self._archives()))

    @property
    def download_megabytes(self) -> int | None:
        return self.megabytes if self._own.database == "full" else None

    @property
    def catalogued(self) -> int | None:
        return self.images - self.queries if self._own.database == "full" else None

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        listed = self._listed(raw / TRUTH.name)
        for path, data in images_of(raw / name for name in self._archives()):
            name = "/".join(PurePosixPath(path).parts[-3 if "/MET/" in f"/{path}" else -2 :])
            found = listed.pop(name, None)
            if found:
                yield Photograph(name.removesuffix(".jpg"), path, data, *found)
        if listed:
            raise SourceError(f"{raw}: {len(listed)} photographs of the ground truth are not in the archives, the first is {min(listed)}")

    def _listed(self, archive: Path) -> dict[str, tuple[str, str | None]]:
        """Role and exhibit by path.

        Raises:
            SourceError: a list is missing, or not such a list.
        """
        wanted = {DATABASES[self._own.database][1]: ("database", "id"), LISTS[self._own.queries]: ("query", "MET_id")}
        found: dict[str, tuple[str, str | None]] = {}
        for path, content in members(archive):
            name = PurePosixPath(path).name
            if name not in wanted:
                continue
            role, key = wanted.pop(name)
            for entry in _entries(archive, path, content):
                if self._own.others or key in entry:
                    found[entry["path"]] = (role, f"exhibit_{entry[key]}" if key in entry else None)
        if wanted:
            raise SourceError(f"{archive}: no {', '.join(wanted)} in it")
        return found

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return truth_from_instances(rows)


def _entries(archive: Path, path: str, content: bytes) -> list[dict[str, Any]]:
    """The entries of a list, each of which has a path, and an id where it is of the database."""
    needed = {"path", "id"} if path.endswith("database.json") else {"path"}
    try:
        entries: list[dict[str, Any]] = json.loads(content)
        if all(needed <= entry.keys() for entry in entries):
            return entries
    except (ValueError, AttributeError, TypeError, RecursionError):
        pass
    raise SourceError(f"{archive}: {path}: expected a list of entries that have {' and '.join(sorted(needed))}")
