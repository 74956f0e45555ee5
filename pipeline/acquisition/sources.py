"""What a data set offers to the pipeline: files to fetch, photographs to stream, ground truth to score by.

Adding a data set is adding one module with a subclass of `Dataset` and its line in registry.py.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pipeline.downloads.remote_file import RemoteFile
from pipeline.stage.catalogue import Box, CatalogueRow, GroundTruth
from pipeline.stage.errors import SourceError
from pipeline.stage.parameters import Section

MOST_PAIRS = 50_000_000
"""Of a query with an image that is relevant to it, some 70 bytes each."""


@dataclass(frozen=True)
class Photograph:
    """One image as it came, encoded.

    Attributes:
        image_id: unique in the data set and stable.
        path: its place in the source.
        box: in pixels of the upright image.
        rotation: degrees to turn the pixels clockwise so that they stand upright, beyond what EXIF says.
        exif: whether the EXIF orientation counts; False where a list of rotations was made for the stored pixels.
        facts: what else the source says of it, by name.
    """

    image_id: str
    path: str
    data: bytes
    role: str = "database"
    instance: str | None = None
    box: Box | None = None
    rotation: int = 0
    exif: bool = True
    facts: dict[str, str] = field(default_factory=dict)


class DatasetParameters(Section):
    """What every section datasets.NAME may hold."""

    source: str


class Dataset(ABC):
    """A source of photographs.

    Attributes:
        Parameters: the section datasets.NAME.
        title: one line for people.
        images, queries: expected counts; None where the user decides.
        megabytes: size of the download, for the listing.
        unreadable: paths of images known to be broken; they are left out without counting against `tolerate`.
        tolerate: unreadable images that are left out before the stage resize stops, as a share, where params.yaml says nothing.
    """

    Parameters: ClassVar[type[DatasetParameters]] = DatasetParameters
    title: ClassVar[str]
    images: ClassVar[int | None] = None
    queries: ClassVar[int | None] = None
    megabytes: ClassVar[int | None] = None
    unreadable: ClassVar[frozenset[str]] = frozenset()
    tolerate: ClassVar[float] = 0.0

    def __init__(self, parameters: DatasetParameters) -> None:
        self.parameters = parameters

    def files(self) -> tuple[RemoteFile, ...]:
        """What to download; empty for data sets that are made or found on this machine."""
        return ()

    @property
    def download_megabytes(self) -> int | None:
        """Of what is to be downloaded with these parameters."""
        return self.megabytes

    @property
    def catalogued(self) -> int | None:
        """How many images of a role other than query are published; None where the parameters or the user decide."""
        return self.images

    def make(self, folder: Path) -> list[str]:
        """Make files that are not downloaded, and return their names."""
        return []

    def provenance(self) -> dict[str, object]:
        """What SOURCE.json shall say besides."""
        return {}

    def summary(self) -> list[str]:
        """Lines for people that say what the source holds now; none where it is not on this machine."""
        return []

    def expected(self, raw: Path) -> int | None:
        """How many photographs data/raw/DATASET holds; None where that is not known before they are read."""
        return self.images

    def parts(self, raw: Path) -> int | None:
        """How many parts of data/raw/DATASET can be read each on its own; None where photographs only come one after the other."""
        return None

    def part(self, raw: Path, index: int) -> Iterator[Photograph]:
        """Stream the photographs of one of the `parts`."""
        raise NotImplementedError(f"{self.title} has no parts")

    def part_files(self, raw: Path, index: int) -> tuple[Path, ...]:
        """The files of data/raw/DATASET that one of the `parts` is read from."""
        raise NotImplementedError(f"{self.title} has no parts")

    @abstractmethod
    def photographs(self, raw: Path) -> Iterator[Photograph]:
        """Stream the photographs in a fixed order from data/raw/DATASET."""

    @abstractmethod
    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        """What is relevant to each query, given the catalogue."""


def truth_from_instances(rows: list[CatalogueRow], protocol: str = "instances") -> GroundTruth:
    """Positives of a query are the readable database images of its instance.

    Where the data set has no row of role query, every readable database image that shares its instance with another is a query, and is
    junk for itself. Roles decide: a query that cannot be read stays one, and is counted as unanswered.
    """
    members: dict[str, list[str]] = {}
    for row in rows:
        if row.role == "database" and row.instance is not None and row.readable:
            members.setdefault(row.instance, []).append(row.image_id)
    asked = Counter(row.instance for row in rows if row.role == "query") or Counter({name: len(ids) for name, ids in members.items()})
    _refuse_too_many({name: asked[name] * len(ids) for name, ids in members.items()})
    queries = [row for row in rows if row.role == "query"]
    own_junk = not queries
    if own_junk:
        queries = [row for row in rows if row.role == "database" and row.readable and len(members.get(row.instance or "", [])) > 1]
    truth = []
    for query in queries:
        same = members.get(query.instance or "", [])
        truth += [(query.image_id, image_id, "junk" if own_junk and image_id == query.image_id else "good") for image_id in same]
    return GroundTruth(protocol, tuple(query.image_id for query in queries), tuple(truth))


def _refuse_too_many(pairs: dict[str, int]) -> None:
    """
    Raises:
        SourceError: the ground truth would not fit into memory.
    """
    if sum(pairs.values()) > MOST_PAIRS:
        name = max(pairs, key=lambda each: pairs[each])
        raise SourceError(
            f"the ground truth would have {sum(pairs.values()):,} pairs, most of them of the instance {name!r}; at most {MOST_PAIRS:,} are held. "
            "Leave the instance empty where a folder is no object: put its photographs into the top folder, or write a list"
        )
