"""INRIA Holidays: 1491 photographs in 500 groups, the first of each group is the query (Jégou et al., ECCV 2008).

A query is searched by its own database row, which is junk for it. `upright: true` turns the photographs that lie on their
side, before any resizing.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from pipeline.acquisition.boxed_benchmark import images_of
from pipeline.acquisition.holidays_rotations import ROTATIONS
from pipeline.acquisition.sources import Dataset, DatasetParameters, Photograph
from pipeline.downloads.remote_file import RemoteFile
from pipeline.stage.catalogue import CatalogueRow, GroundTruth

FILES = tuple(RemoteFile(f"https://pascal.inrialpes.fr/data/holidays/jpg{part}.tar.gz", f"jpg{part}.tar.gz") for part in (1, 2))


class HolidaysParameters(DatasetParameters):
    upright: bool = True


class Holidays(Dataset):
    Parameters: ClassVar[type[DatasetParameters]] = HolidaysParameters
    title = "INRIA Holidays: 500 groups of holiday photographs"
    images, queries, megabytes = 1491, 500, 2830

    def files(self) -> tuple[RemoteFile, ...]:
        return FILES

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        assert isinstance(self.parameters, HolidaysParameters)
        for path, data in images_of(raw / file.name for file in FILES):
            number = PurePosixPath(path).stem
            rotation = ROTATIONS.get(number, 0) if self.parameters.upright else 0
            yield Photograph(number, path, data, instance=number[:4], rotation=rotation, exif=False)

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return group_truth([row.image_id for row in rows])


def group_truth(image_ids: list[str]) -> GroundTruth:
    """Groups are number // 100; the one with the lowest number is the query, and is junk for itself."""
    groups: dict[int, list[str]] = {}
    for image_id in sorted(image_ids, key=int):
        groups.setdefault(int(image_id) // 100, []).append(image_id)
    rows = [(group[0], image_id, "junk" if image_id == group[0] else "good") for group in groups.values() for image_id in group]
    return GroundTruth("holidays", tuple(group[0] for group in groups.values()), tuple(rows))
