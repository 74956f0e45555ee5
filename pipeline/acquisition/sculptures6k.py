"""Sculptures6k: 6340 photographs of sculptures by Moore and Rodin, 70 boxed queries in the test half (Arandjelović and Zisserman, ICCV 2011).

Only the test half is the benchmark's database; the train half serves as held-out set.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.acquisition.boxed_benchmark import BoxedBenchmark
from pipeline.acquisition.oxford_files import BoxedQuery, read_text_files
from pipeline.acquisition.sources import Photograph
from pipeline.downloads.remote_file import RemoteFile

ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/sculptures6k"
FILES = tuple(RemoteFile(f"{ADDRESS}/{name}", name) for name in ("sculptures6k_test.tgz", "sculptures6k_train.tgz", "sculptures6k_gt.tgz"))


class Sculptures6k(BoxedBenchmark):
    title = "Sculptures6k: smooth sculptures by Moore and Rodin, boxed queries"
    images, queries, megabytes = 6340, 70, 1600
    archives = tuple(file.name for file in FILES[:2])

    def files(self) -> tuple[RemoteFile, ...]:
        return FILES

    def boxed_queries(self, raw: Path) -> list[BoxedQuery]:
        return read_text_files(raw / FILES[2].name)

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        for photograph in super().photographs(raw):
            trained_on = PurePosixPath(photograph.path).parent.name == "train"
            yield Photograph(photograph.image_id, photograph.path, photograph.data, "held_out") if trained_on else photograph
