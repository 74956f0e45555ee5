"""Oxford5k: 5063 photographs of Oxford, 55 boxed queries of 11 buildings (Philbin et al., CVPR 2007)."""

from pathlib import Path

from pipeline.acquisition.boxed_benchmark import BoxedBenchmark
from pipeline.acquisition.oxford_files import BoxedQuery, read_text_files
from pipeline.downloads.remote_file import RemoteFile

IMAGES = RemoteFile("https://thor.robots.ox.ac.uk/oxbuildings/oxbuild_images-v1.tgz", "oxbuild_images.tgz")
TRUTH = RemoteFile("https://www.robots.ox.ac.uk/~vgg/data/oxbuildings/gt_files_170407.tgz", "gt_files_170407.tgz")


class Oxford5k(BoxedBenchmark):
    title = "Oxford5k: 11 buildings of Oxford, boxed queries"
    images, queries, megabytes = 5063, 55, 1940
    archives = (IMAGES.name,)

    def files(self) -> tuple[RemoteFile, ...]:
        return (IMAGES, TRUTH)

    def boxed_queries(self, raw: Path) -> list[BoxedQuery]:
        return read_text_files(raw / TRUTH.name, prefix="oxc1_")
