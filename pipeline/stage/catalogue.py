"""The catalogue of a data set (one row per image) and its ground truth (one row per query and labelled image)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import pyarrow as pa

from pipeline.stage.errors import ShardError
from pipeline.stage.tables import open_table, read_table, table_facts, write_table

ROLES = ("database", "query", "distractor", "held_out")
RELEVANCES = ("good", "ok", "junk", "easy", "hard")

CATALOGUE_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("role", pa.string()),
        ("instance", pa.string()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("rotation", pa.int16()),
        ("status", pa.string()),
        ("facts", pa.string()),
    ]
)
CORNERS = ("x0", "y0", "x1", "y1")
TRUTH_SCHEMA = pa.schema([*((name, pa.string()) for name in ("query_id", "image_id", "relevance")), *((name, pa.float32()) for name in CORNERS)])

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class CatalogueRow:
    """One image of a data set.

    Attributes:
        image_id: unique and stable.
        path: where it came from, inside the source.
        width, height: pixels of the upright original; 0 for an unreadable image.
        role: database, query, distractor or held_out.
        instance: what it shows, where that is known.
        x0, y0, x1, y1: where it shows its object, in pixels of the upright original; a query is cropped to it.
        rotation: degrees by which the stored pixels were turned clockwise to stand upright.
        status: 'ok', or 'unreadable: REASON'.
        facts: what else the source says of it, as JSON.
    """

    image_id: str
    path: str
    sha256: str
    width: int
    height: int
    role: str
    instance: str | None = None
    x0: float | None = None
    y0: float | None = None
    x1: float | None = None
    y1: float | None = None
    rotation: int = 0
    status: str = "ok"
    facts: str | None = None

    @property
    def readable(self) -> bool:
        return self.status == "ok"

    @property
    def box(self) -> Box | None:
        if self.x0 is None or self.y0 is None or self.x1 is None or self.y1 is None:
            return None
        return (self.x0, self.y0, self.x1, self.y1)


@dataclass(frozen=True)
class GroundTruth:
    """What is relevant to each query, and the protocol that scores it.

    Attributes:
        protocol: a name of contracts.protocols: oxford, revisited, holidays, ukbench or instances.
        queries: the ids of all queries in order, those without any positive included. A query is a catalogue row of role
            query, or a database image that serves as its own query.
        rows: (query_id, image_id, relevance).
        objects: by (query_id, image_id), where the image shows what the query asks for, in pixels of the upright original. It names
            only labelled images that show several objects; others show theirs where their catalogue row says.
    """

    protocol: str
    queries: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...]
    objects: Mapping[tuple[str, str], Box] = field(default_factory=dict)


def columns_of(rows: Iterable[CatalogueRow]) -> dict[str, list[object]]:
    """Rows as columns in the schema's order."""
    rows = list(rows)
    return {item.name: [getattr(row, item.name) for row in rows] for item in fields(CatalogueRow)}


def rows_of(table: pa.Table) -> list[CatalogueRow]:
    """The rows of a table that has the schema's columns."""
    return [CatalogueRow(**row) for row in table.to_pylist()]


def write_catalogue(path: Path, rows: Iterable[CatalogueRow]) -> None:
    write_table(path, "catalogue", CATALOGUE_SCHEMA, columns_of(rows))


def read_catalogue(path: Path) -> list[CatalogueRow]:
    """All rows, in order.

    Raises:
        ShardError: missing, foreign or damaged file.
    """
    return rows_of(read_table(path, "catalogue"))


def write_ground_truth(path: Path, truth: GroundTruth) -> None:
    query, image, relevance = zip(*truth.rows, strict=True) if truth.rows else ((), (), ())
    unknown = set(relevance) - set(RELEVANCES)
    if unknown:
        raise ShardError(f"{path}: unknown relevance {sorted(unknown)}; allowed: {', '.join(RELEVANCES)}")
    boxes = [truth.objects.get(pair) for pair in zip(query, image, strict=True)]
    columns = {"query_id": query, "image_id": image, "relevance": relevance, **_box_columns(boxes)}
    write_table(path, "ground truth", TRUTH_SCHEMA, columns, protocol=truth.protocol, queries=list(truth.queries))


def read_ground_truth(path: Path) -> GroundTruth:
    """Read what `write_ground_truth` wrote."""
    file = open_table(path, "ground truth")
    facts = table_facts(file)
    rows, objects = [], {}
    for query, image, relevance, *box in zip(*file.read(columns=TRUTH_SCHEMA.names).to_pydict().values(), strict=True):
        rows.append((query, image, relevance))
        if box and box[0] is not None:  # tables of earlier versions have no box
            objects[query, image] = (box[0], box[1], box[2], box[3])
    return GroundTruth(facts["protocol"], tuple(facts["queries"]), tuple(rows), objects)


def _box_columns(boxes: Sequence[Box | None]) -> dict[str, list[float | None]]:
    return {name: [None if box is None else box[corner] for box in boxes] for corner, name in enumerate(CORNERS)}
