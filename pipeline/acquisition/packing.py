"""Photographs packed into one tar as they are, with a table of what is known of each: what `folder` and `gallery` leave in data/raw."""

import csv
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.acquisition.image_list import COLUMNS, Record, parse_box
from pipeline.acquisition.sources import Photograph
from pipeline.stage.checksums import verify
from pipeline.stage.errors import SourceError
from pipeline.stage.tables import replacing

ARCHIVE, TABLE = "images.tar", "catalogue.csv"


def pack(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, content) pairs into an uncompressed tar with bytes that depend on nothing else."""
    with replacing(path) as partial, tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def write_records(path: Path, records: list[Record]) -> None:
    """Write the table; every text comes back as it is, blanks and line ends included. The column `facts` is there where a record has some."""
    columns = [*COLUMNS, "facts"] if any(record.get("facts") for record in records) else list(COLUMNS)
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        plain, quoting = (csv.writer(stream, lineterminator="\n", quoting=rule) for rule in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        plain.writerow(columns)
        for record in records:
            row = [record.get(name, "") for name in columns]
            writer = quoting if any("\r" in cell for cell in row) else plain  # which `csv` does not quote by itself
            writer.writerow(row)


def read_records(path: Path) -> list[Record]:
    """What `write_records` wrote.

    Raises:
        SourceError: missing or damaged.
    """
    verify(path)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            headings, *rows = csv.reader(stream, strict=True)
        return [dict(zip(headings, row, strict=True)) for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError(f"{path}: not a readable table ({error}); remove its folder and run the download stage again") from None


def packed_count(raw: Path) -> int:
    """How many photographs a raw folder holds that `pack` and `write_records` wrote."""
    return len(read_records(raw / TABLE))


def packed_photographs(raw: Path) -> Iterator[Photograph]:
    """Stream what `pack` and `write_records` wrote into a raw folder.

    Raises:
        SourceError: the archive is damaged, or archive and table do not name the same files.
    """
    records: dict[str, list[Record]] = {}
    for record in read_records(raw / TABLE):
        records.setdefault(record["path"], []).append(record)
    for path, data in _members(raw / ARCHIVE):
        if path not in records:
            raise SourceError(f"{raw / ARCHIVE}: member {path!r} is not in {TABLE}; remove {raw} and run the download stage again")
        for record in records.pop(path):
            yield photograph(record, data)
    if records:
        raise SourceError(
            f"{raw / ARCHIVE}: {len(records)} images of {TABLE} are missing, the first is {next(iter(records))}; remove {raw} and run again"
        )


def photograph(record: Record, data: bytes) -> Photograph:
    """One image with what its record says of it."""
    box, facts = parse_box(record["box"], record["path"]), json.loads(record.get("facts") or "{}")
    return Photograph(record["id"], record["path"], data, record["role"], record["instance"] or None, box, facts=facts)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) in order. Names are not looked at: nothing is unpacked, and people name files as they like."""
    verify(path)
    try:
        with tarfile.open(path, "r|") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is None:
                    raise SourceError(f"{path}: member {member.name!r} is no file; remove its folder and run the download stage again")
                yield member.name, content.read()
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: damaged archive ({error}); remove its folder and run the download stage again") from None
