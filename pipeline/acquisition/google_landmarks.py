"""Google Landmarks v2, retrieval: 761,757 index photographs, 1,129 queries, mAP of the first 100 (Weyand et al., CVPR 2020).

`index` and `test` are so many of the 100 and 20 archives, for trials. `train` is how many of the 500 archives of the train set make the
held-out set; the cleaned list (Yokoo et al., 2020) keeps 1.6 million photographs of all. Test photographs that are no query are left out.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from pydantic import Field

from pipeline.acquisition.boxed_benchmark import images_of
from pipeline.acquisition.sources import Dataset, DatasetParameters, Photograph
from pipeline.downloads.remote_file import RemoteFile, download_again
from pipeline.stage.catalogue import CatalogueRow, GroundTruth
from pipeline.stage.errors import SourceError
from pipeline.stage.text_tables import read_csv

ADDRESS = "https://s3.amazonaws.com/google-landmark"
SOLUTION = RemoteFile(f"{ADDRESS}/ground_truth/retrieval_solution_v2.1.csv", "retrieval_solution_v2.1.csv")
CLEAN = RemoteFile(f"{ADDRESS}/metadata/train_clean.csv", "train_clean.csv")
INDEX_ARCHIVES, TEST_ARCHIVES, TRAIN_ARCHIVES = 100, 20, 500
USED = ("Public", "Private")
"""Values of the solution's column Usage whose queries count."""


class GoogleLandmarksParameters(DatasetParameters):
    index: int = Field(INDEX_ARCHIVES, ge=1, le=INDEX_ARCHIVES, description="archives of the index set, about 0.85 GB each")
    test: int = Field(TEST_ARCHIVES, ge=1, le=TEST_ARCHIVES, description="archives of the test set, about 0.5 GB each")
    train: int = Field(
        0, ge=0, le=TRAIN_ARCHIVES, description="archives of the train set, about 1 GB each, whose cleaned part becomes the held-out set"
    )


class GoogleLandmarks(Dataset):
    Parameters: ClassVar[type[DatasetParameters]] = GoogleLandmarksParameters
    title = "Google Landmarks v2, retrieval: 761,757 index photographs"
    images, queries, megabytes = 761757, 1129, 95000

    def files(self) -> tuple[RemoteFile, ...]:
        own = self._own
        archives = [self._archive(part, number) for part, count in self._parts().items() for number in range(count)]
        return (SOLUTION, *([CLEAN] if own.train else []), *archives)

    @property
    def download_megabytes(self) -> int:
        own = self._own
        return own.index * 850 + own.test * 500 + own.train * 1000

    @property
    def catalogued(self) -> int | None:
        return self.images if self._own.index == INDEX_ARCHIVES and not self._own.train else None

    @property
    def _own(self) -> GoogleLandmarksParameters:
        assert isinstance(self.parameters, GoogleLandmarksParameters)
        return self.parameters

    def _parts(self) -> dict[str, int]:
        return {"index": self._own.index, "test": self._own.test, "train": self._own.train}

    def _archive(self, part: str, number: int) -> RemoteFile:
        return RemoteFile(f"{ADDRESS}/{part}/images_{number:03d}.tar", f"{part}_{number:03d}.tar")

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        asked = set(_solution(raw / SOLUTION.name))
        clean = _clean(raw / CLEAN.name) if self._own.train else {}
        for part, count in self._parts().items():
            for path, data in images_of(raw / self._archive(part, number).name for number in range(count)):
                name = PurePosixPath(path).stem
                if part == "index":
                    yield Photograph(name, path, data)
                elif part == "test" and name in asked:
                    yield Photograph(name, path, data, "query")
                elif part == "train" and name in clean:
                    yield Photograph(name, path, data, "held_out", clean[name])

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        """Relevant images of archives that were not asked for are missing from it, and so do not count as not found.

        Raises:
            SourceError: all test archives are there, and a query is in none.
        """
        there = {row.image_id for row in rows if row.role == "database"}
        asking = {row.image_id for row in rows if row.role == "query"}
        relevant = _solution(raw / SOLUTION.name)
        missing = sorted(relevant.keys() - asking)
        if missing and self._own.test == TEST_ARCHIVES:
            raise SourceError(f"{raw}: {len(missing)} queries of {SOLUTION.name} are not in the test archives, the first is {missing[0]}")
        relevant = {query: images for query, images in relevant.items() if query in asking}
        labels = [
            (query, image, "good") for query, images in relevant.items() for image in images if image in there or self._own.index == INDEX_ARCHIVES
        ]
        return GroundTruth("google_landmarks", tuple(relevant), tuple(labels))


def _solution(path: Path) -> dict[str, list[str]]:
    """Relevant index images by query that counts."""
    return {row["id"]: row["images"].split() for row in _rows(path, "id", "images", "Usage") if row["Usage"] in USED}


def _clean(path: Path) -> dict[str, str]:
    """Landmarks by image of the cleaned train set."""
    rows = _rows(path, "landmark_id", "images")
    return {image: f"landmark_{row['landmark_id']}" for row in rows for image in row["images"].split()}


def _rows(path: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a table.

    Raises:
        SourceError: it is none, or has other columns.
    """
    try:
        headings, rows = read_csv(path)
    except ValueError as error:
        raise SourceError(f"{path}: not a CSV table ({error}); {download_again(path)}") from None
    if not set(columns) <= set(headings):
        raise SourceError(f"{path}: expected the columns {', '.join(columns)}, got {', '.join(headings)}")
    return rows
