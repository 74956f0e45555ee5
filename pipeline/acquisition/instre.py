"""INSTRE: 28,543 photographs of 250 objects; 1,250 boxed queries outside the database (Wang and Jiang, TOMM 2015; split of Iscen et al., CVPR 2017).

Photographs of INSTRE-S1 and S2 show one object, those of INSTRE-M two of S1, which are relevant to both. A text file next to each photograph says
where its objects are. For a query of S1, the object in a photograph of INSTRE-M is that of the first line where the query's folder is NUMBERa,
and that of the second where it is NUMBERb, as the publishers' description says. For a query of INSTRE-M it is the box around both.
"""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.acquisition.archives import members
from pipeline.acquisition.boxed_benchmark import BoxedBenchmark
from pipeline.acquisition.object_boxes import boxes_in, objects_of
from pipeline.acquisition.oxford_files import BoxedQuery, read_mat
from pipeline.downloads.remote_file import RemoteFile
from pipeline.stage.catalogue import Box, CatalogueRow, GroundTruth
from pipeline.stage.errors import SourceError

ADDRESS = "https://ftp.irisa.fr/local/texmex/corpus/instre"
OBJECT_OF_PAIR = re.compile(r"(?:query/)?INSTRE-S1/\d+([ab])_", re.IGNORECASE)
PAIRS = "instre-m/"
IMAGES, TRUTH = (RemoteFile(f"{ADDRESS}/{name}", name) for name in ("instre.tar.gz", "gnd_instre.mat"))


class Instre(BoxedBenchmark):
    title = "INSTRE: 250 objects, boxed queries outside the database"
    images, queries, megabytes = 28543, 1250, 2300
    protocol = "instances"
    archives = (IMAGES.name,)

    def files(self) -> tuple[RemoteFile, ...]:
        return IMAGES, TRUTH

    @property
    def catalogued(self) -> int:
        return self.images - self.queries

    def image_id(self, path: str) -> str:
        """PART/OBJECT/NUMBER, as file names are numbers that every object has."""
        return "/".join(PurePosixPath(path).with_suffix("").parts[-3:])

    def boxed_queries(self, raw: Path) -> list[BoxedQuery]:
        return [self._named(raw / TRUTH.name, query) for query in read_mat(raw / TRUTH.name)[1]]

    def database_ids(self, raw: Path) -> set[str]:
        return {self.image_id(path) for path in read_mat(raw / TRUTH.name)[0]}

    def objects(self, raw: Path) -> dict[str, list[Box]]:
        archive = raw / IMAGES.name
        files = ((path, content) for path, content in members(archive) if path.endswith(".txt") and _of_a_photograph(path))
        return {self.image_id(path): boxes_in(archive, path, content) for path, content in files}

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        truth = super().ground_truth(raw, rows)
        pairs = {row.image_id: objects_of(row) for row in rows if row.role == "database" and row.image_id.lower().startswith(PAIRS)}
        asked = {query: found.group(1) for query in truth.queries if (found := OBJECT_OF_PAIR.match(query))}
        labelled = ((query, image_id) for query, image_id, _ in truth.rows if query in asked and len(pairs.get(image_id, ())) == 2)
        return replace(truth, objects={(query, image_id): pairs[image_id]["ab".index(asked[query].lower())] for query, image_id in labelled})

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


def _of_a_photograph(path: str) -> bool:
    """Whether a text file has the place PART/OBJECT/NUMBER that photographs have."""
    parts = PurePosixPath(path).with_suffix("").parts
    return len(parts) >= 3 and parts[-3].lower().startswith("instre-") and not parts[-1].startswith(".")
