"""The catalogue of a data set from those of its buckets: written part by part, with what has to be known of all images at once."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.stage.catalogue import CATALOGUE_SCHEMA, CatalogueRow, rows_of
from pipeline.stage.tables import open_table, open_writer, read_table

ROWS_AT_ONCE = 2**14


@dataclass
class Gathered:
    """What a catalogue holds.

    Attributes:
        images: rows.
        distractors: rows of that role.
        rows: those of every role but distractor.
        unreadable: rows of images that cannot be used.
        repeated: (id, path) of the second image that has an id; None where every id is unique.
    """

    images: int = 0
    distractors: int = 0
    rows: list[CatalogueRow] = field(default_factory=list)
    unreadable: list[CatalogueRow] = field(default_factory=list)
    repeated: tuple[str, str] | None = None

    def add(self, table: pa.Table) -> None:
        """Take note of some rows; nothing is kept of distractors that can be used."""
        self.images += table.num_rows
        asked = table.filter(pc.not_equal(table.column("role"), "distractor"))
        self.distractors += table.num_rows - asked.num_rows
        self.rows += rows_of(asked)
        self.unreadable += rows_of(table.filter(pc.not_equal(table.column("status"), "ok")))

    def shown(self) -> Iterator[tuple[str, str | None]]:
        """(role, instance) of every image."""
        yield from ((row.role, row.instance) for row in self.rows)
        yield from itertools.repeat(("distractor", None), self.distractors)


def gather_catalogue(parts: Iterable[Path], target: Path) -> Gathered:
    """Write the rows of some catalogues, in their order, as one."""
    found, ids = Gathered(), list[pa.ChunkedArray]()
    waiting: list[pa.Table] = []
    with open_writer(target, "catalogue", CATALOGUE_SCHEMA) as writer:

        def write() -> None:
            table = pa.concat_tables(waiting) if waiting else CATALOGUE_SCHEMA.empty_table()
            writer.write({name: table.column(name) for name in table.column_names})
            waiting.clear()

        for path in parts:
            table = read_table(path, "catalogue").replace_schema_metadata(None)
            found.add(table)
            ids.append(table.column("image_id"))
            waiting.append(table)
            if sum(each.num_rows for each in waiting) >= ROWS_AT_ONCE:
                write()
        if waiting or not found.images:
            write()
    found.repeated = _repeated(ids, target)
    return found


def _repeated(ids: list[pa.ChunkedArray], catalogue: Path) -> tuple[str, str] | None:
    chunks = [chunk for own in ids for chunk in own.chunks]
    together = pa.chunked_array(chunks, pa.string())
    if pc.count_distinct(together).as_py() == len(together):
        return None
    seen: set[str] = set()
    table = open_table(catalogue, "catalogue").read(columns=["image_id", "path"])
    for image_id, path in zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True):
        if image_id in seen:
            return image_id, path
        seen.add(image_id)
    raise AssertionError("fewer ids than images, and each of them once")
