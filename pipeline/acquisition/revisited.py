"""Revisited Oxford and Paris: new labels in three difficulties, 70 queries that are not in the database (Radenović et al., CVPR 2018).

The ground truth is the publishers' .mat file; the pickle next to it holds the same and is not used.
"""

from pathlib import Path
from typing import ClassVar

from pipeline.acquisition import oxford5k, paris6k
from pipeline.acquisition.boxed_benchmark import BoxedBenchmark
from pipeline.acquisition.oxford_files import BoxedQuery, read_mat
from pipeline.downloads.remote_file import RemoteFile

ADDRESS = "http://cmp.felk.cvut.cz/revisitop/data/datasets"


class Revisited(BoxedBenchmark):
    protocol = "revisited"
    truth: ClassVar[RemoteFile]
    photographs_files: ClassVar[tuple[RemoteFile, ...]]

    def files(self) -> tuple[RemoteFile, ...]:
        return (*self.photographs_files, self.truth)

    def boxed_queries(self, raw: Path) -> list[BoxedQuery]:
        return read_mat(raw / self.truth.name)[1]

    def database_ids(self, raw: Path) -> set[str] | None:
        return set(read_mat(raw / self.truth.name)[0])


class RevisitedOxford(Revisited):
    title = "Revisited Oxford: easy, medium and hard, boxed queries outside the database"
    images, queries, megabytes = 4993, 70, 1940
    truth = RemoteFile(f"{ADDRESS}/roxford5k/gnd_roxford5k.mat", "gnd_roxford5k.mat")
    photographs_files = (oxford5k.IMAGES,)
    archives = (oxford5k.IMAGES.name,)


class RevisitedParis(Revisited):
    title = "Revisited Paris: easy, medium and hard, boxed queries outside the database"
    images, queries, megabytes = 6322, 70, 2550
    unreadable = paris6k.Paris6k.unreadable
    truth = RemoteFile(f"{ADDRESS}/rparis6k/gnd_rparis6k.mat", "gnd_rparis6k.mat")
    photographs_files = paris6k.IMAGES
    archives = paris6k.Paris6k.archives
