"""INSTRE: 28,543 photographs of 250 objects; 1,250 boxed queries outside the database (Wang and Jiang, TOMM 2015; split of Iscen et al., CVPR 2017).

Photographs of INSTRE-S1 and S2 show one object, those of INSTRE-M two of S1, which are relevant to both.
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.acquisition.boxed_benchmark import BoxedBenchmark
from pipeline.acquisition.oxford_files import BoxedQuery, read_mat
from pipeline.downloads.remote_file import RemoteFile
from pipeline.stage.errors import SourceError

ADDRESS = "https://ftp.irisa.fr/local/texmex/corpus/instre"
IMAGES, TRUTH = (RemoteFile(f"{ADDRESS}/{name}", name) for name in ("instre.tar.gz", "gnd_instre.mat"))


class Instre(BoxedBenchmark):
    title = "INSTRE: 250 objects, boxed queries outside the database"
    images, queries, megabytes = 28543, 1250, 2300
    protocol = "instances"
    archives = (IMAGES.name,)

    def files(self) -> tuple[RemoteFile, ...]:
        return IMAGES, TRUTH

    def image_id(self, path: str) -> str:
        """PART/OBJECT/NUMBER, as file names are numbers that every object has."""
        return "/".join(PurePosixPath(path).with_suffix("").parts[-3:])

    def boxed_queries(self, raw: Path) -> list[BoxedQuery]:
        return [self._named(raw / TRUTH.name, query) for query in read_mat(raw / TRUTH.name)[1]]

    def database_ids(self, raw: Path) -> set[str]:
        return {self.image_id(path) for path in read_mat(raw / TRUTH.name)[0]}

    def _named(self, path: Path, query: BoxedQuery) -> BoxedQuery:
        """A query of the file, whose images are named by their paths.

        Raises:
            SourceError: its box is none of x0, y0, x1, y1.
        """
        x0, y0, x1, y1 = query.box
        if not (x0 < x1 and y0 < y1):
            raise SourceError(f"{path}: query {query.image_id}: expected a box x0 y0 x1 y1, got {x0:g} {y0:g} {x1:g} {y1:g}")
        name = self.image_id(query.image_id)
        labels = tuple((self.image_id(image), relevance) for image, relevance in query.labels)
        return replace(query, query_id=name, image_id=name, labels=labels)
