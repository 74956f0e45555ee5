"""MIRFLICKR-1M: a million photographs from Flickr as distractors (Huiskes et al., 2010), in ten zip archives."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from pydantic import Field

from pipeline.acquisition.boxed_benchmark import images_of
from pipeline.acquisition.sources import Dataset, DatasetParameters, Photograph
from pipeline.downloads.remote_file import RemoteFile
from pipeline.stage.catalogue import CatalogueRow, GroundTruth

FILES = tuple(RemoteFile(f"https://press.liacs.nl/mirflickr/mirflickr1m.v3b/images{part}.zip", f"images{part}.zip") for part in range(10))


class MirFlickrParameters(DatasetParameters):
    archives: int = Field(10, ge=1, le=10, description="how many of the ten archives, 100,000 photographs each")


class MirFlickr1M(Dataset):
    Parameters: ClassVar[type[DatasetParameters]] = MirFlickrParameters
    title = "MIRFLICKR-1M: a million distractors"
    images, queries, megabytes = 1000000, 0, 117000

    def files(self) -> tuple[RemoteFile, ...]:
        assert isinstance(self.parameters, MirFlickrParameters)
        return FILES[: self.parameters.archives]

    @property
    def download_megabytes(self) -> int | None:
        return self.megabytes and self.megabytes * len(self.files()) // len(FILES)

    @property
    def catalogued(self) -> int | None:
        return self.images and self.images * len(self.files()) // len(FILES)

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        for path, data in images_of(raw / file.name for file in self.files()):
            yield Photograph(f"mirflickr1m/{PurePosixPath(path).stem}", path, data, role="distractor")

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return GroundTruth("instances", (), ())
