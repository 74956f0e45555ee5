"""Paris6k: 6412 photographs of Paris, 20 of them broken, 55 boxed queries of 11 sights (Philbin et al., CVPR 2008)."""

from pathlib import Path

from pipeline.acquisition.boxed_benchmark import BoxedBenchmark
from pipeline.acquisition.oxford_files import BoxedQuery, read_text_files
from pipeline.downloads.remote_file import RemoteFile

IMAGES = tuple(RemoteFile(f"https://thor.robots.ox.ac.uk/parisbuildings/paris_{part}-v1.tgz", f"paris_{part}.tgz") for part in (1, 2))
TRUTH = RemoteFile("https://www.robots.ox.ac.uk/~vgg/data/parisbuildings/paris_120310.tgz", "paris_120310.tgz")

BROKEN = {
    "louvre": (136, 146),
    "moulinrouge": (422,),
    "museedorsay": (1059,),
    "notredame": (188,),
    "pantheon": (284, 960, 974),
    "pompidou": (195, 196, 201, 467, 640),
    "sacrecoeur": (299, 330, 353),
    "triomphe": (662, 833, 863, 867),
}
"""The publisher's list corrupt.txt: these hold a web page instead of a photograph."""


class Paris6k(BoxedBenchmark):
    title = "Paris6k: 11 sights of Paris, boxed queries"
    images, queries, megabytes = 6412, 55, 2550
    unreadable = frozenset(f"paris/{place}/paris_{place}_{number:06d}.jpg" for place, numbers in BROKEN.items() for number in numbers)
    archives = tuple(file.name for file in IMAGES)

    def files(self) -> tuple[RemoteFile, ...]:
        return (*IMAGES, TRUTH)

    def boxed_queries(self, raw: Path) -> list[BoxedQuery]:
        return read_text_files(raw / TRUTH.name)
