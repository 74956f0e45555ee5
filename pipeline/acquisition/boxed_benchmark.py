"""Data sets whose queries are boxes in photographs: a photograph that holds a query gives a database row and a query row."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.acquisition.archives import members
from pipeline.acquisition.object_boxes import around, objects_fact
from pipeline.acquisition.oxford_files import BoxedQuery, query_row_id, truth_of
from pipeline.acquisition.sources import Dataset, Photograph
from pipeline.stage.catalogue import Box, CatalogueRow, GroundTruth
from pipeline.stage.errors import SourceError


class BoxedBenchmark(Dataset):
    """Oxford5k and its kin: archives of photographs, and a list of boxed queries."""

    protocol = "oxford"
    archives: tuple[str, ...]

    @abstractmethod
    def boxed_queries(self, raw: Path) -> list[BoxedQuery]:
        """The queries, in their order."""

    def database_ids(self, raw: Path) -> set[str] | None:
        """The photographs that form the database; None for all."""
        return None

    def objects(self, raw: Path) -> dict[str, list[Box]]:
        """Boxes of the objects that the photographs show, by image id; none where the source does not say where they are."""
        return {}

    def image_id(self, path: str) -> str:
        """That of the photograph at a path of an archive."""
        return PurePosixPath(path).stem

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        queries: dict[str, list[BoxedQuery]] = {}
        for query in self.boxed_queries(raw):
            queries.setdefault(query.image_id, []).append(query)
        database, objects = self.database_ids(raw), self.objects(raw)
        for path, data in images_of(raw / archive for archive in self.archives):
            image_id = self.image_id(path)
            if database is None or image_id in database:
                shown = objects.get(image_id, [])
                yield Photograph(image_id, path, data, box=around(shown) if shown else None, facts=objects_fact(shown))
            for query in queries.pop(image_id, ()):
                yield Photograph(query_row_id(query), path, data, role="query", box=query.box)
        if queries:
            raise SourceError(f"{raw}: {len(queries)} query images are not in the archives, the first is {min(queries)}")

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return truth_of(self.boxed_queries(raw), self.protocol, {row.image_id for row in rows if row.role == "database"})


def images_of(archives: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the JPEG files of several archives, in order."""
    for archive in archives:
        for path, data in members(archive):
            if path.lower().endswith((".jpg", ".jpeg")) and not PurePosixPath(path).name.startswith("."):
                yield path, data
