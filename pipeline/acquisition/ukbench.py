"""UKBench: 10200 photographs, four of each object, every photograph a query (Nistér and Stewénius, CVPR 2006)."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.acquisition.boxed_benchmark import images_of
from pipeline.acquisition.sources import Dataset, Photograph
from pipeline.downloads.remote_file import RemoteFile
from pipeline.stage.catalogue import CatalogueRow, GroundTruth

FILE = RemoteFile("https://archive.org/download/ukbench/ukbench.zip", "ukbench.zip")


class UKBench(Dataset):
    title = "UKBench: 2550 objects, four photographs each"
    images, queries, megabytes = 10200, 10200, 1700

    def files(self) -> tuple[RemoteFile, ...]:
        return (FILE,)

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        for path, data in images_of([raw / FILE.name]):
            if PurePosixPath(path).parent.name == "full":
                name = PurePosixPath(path).stem
                yield Photograph(name, path, data, instance=f"{_number(name) // 4:04d}")

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        groups: dict[int, list[str]] = {}
        for row in rows:
            groups.setdefault(_number(row.image_id) // 4, []).append(row.image_id)
        truth = [(row.image_id, member, "good") for row in rows for member in groups[_number(row.image_id) // 4]]
        return GroundTruth("ukbench", tuple(row.image_id for row in rows), tuple(truth))


def _number(name: str) -> int:
    return int(name.removeprefix("ukbench"))
