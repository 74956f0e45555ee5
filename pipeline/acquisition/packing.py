"""Photographs packed as they are, bucket by bucket: a tar, and a table of what is known of each. What `folder` and `gallery` leave in data/raw."""

import csv
import io
import json
import tarfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.acquisition.image_list import COLUMNS, Record, parse_box
from pipeline.acquisition.sources import Dataset, Photograph
from pipeline.contracts.running.progress import Progress
from pipeline.downloads.remote_file import download_again
from pipeline.stage.buckets import in_buckets
from pipeline.stage.checksums import verify
from pipeline.stage.errors import SourceError
from pipeline.stage.manifest import load_manifest
from pipeline.stage.tables import replacing

KIND = "raw files"
ARCHIVE, TABLE = "part-{:05d}.tar", "part-{:05d}.csv"
Packed = tuple[str, bytes, list[Record]]
"""A photograph's path, its content, and a record of each image that is made of it."""


class PackedDataset(Dataset):
    """A source whose photographs are packed on this machine, so that each bucket of them can be read on its own."""

    def make(self, folder: Path) -> list[str]:
        names: list[str] = []
        buckets = in_buckets(self.paths())
        with Progress("pack", sum(map(len, buckets)), "photographs") as progress:
            for index, paths in enumerate(buckets):
                records: list[Record] = []
                pack(folder / ARCHIVE.format(index), self._noted(paths, records, progress))
                write_records(folder / TABLE.format(index), records)
                names += [ARCHIVE.format(index), TABLE.format(index)]
        return names

    @abstractmethod
    def paths(self) -> Iterable[str]:
        """Of the photographs."""

    @abstractmethod
    def packed(self, paths: list[str]) -> Iterator[Packed]:
        """The photographs of some paths, in their order."""

    def expected(self, raw: Path) -> int:
        return sum(len(read_records(raw / TABLE.format(index))) for index in range(self.parts(raw)))

    def parts(self, raw: Path) -> int:
        return packed_parts(raw)

    def part(self, raw: Path, index: int) -> Iterator[Photograph]:
        return packed_part(raw, index)

    def part_files(self, raw: Path, index: int) -> tuple[Path, ...]:
        return raw / ARCHIVE.format(index), raw / TABLE.format(index)

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        return packed_photographs(raw)

    def _noted(self, paths: list[str], records: list[Record], progress: Progress) -> Iterator[tuple[str, bytes]]:
        for path, data, own in self.packed(paths) if paths else ():
            records.extend(own)
            yield path, data
            progress.advance()


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
        csv.field_size_limit(max(csv.field_size_limit(), path.stat().st_size))
        with path.open(encoding="utf-8", newline="") as stream:
            headings, *rows = csv.reader(stream, strict=True)
        return [dict(zip(headings, row, strict=True)) for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError(f"{path}: not a readable table ({error}); {download_again(path)}") from None


def packed_parts(raw: Path) -> int:
    """How many buckets a raw folder holds."""
    return sum(part.name.endswith(".tar") for part in load_manifest(raw, KIND).parts)


def packed_photographs(raw: Path) -> Iterator[Photograph]:
    """Stream the photographs of all buckets of a raw folder."""
    for index in range(packed_parts(raw)):
        yield from packed_part(raw, index)


def packed_part(raw: Path, index: int) -> Iterator[Photograph]:
    """Stream the photographs of one bucket of a raw folder.

    Raises:
        SourceError: the archive is damaged, or archive and table do not name the same files.
    """
    archive, table = raw / ARCHIVE.format(index), raw / TABLE.format(index)
    records: dict[str, list[Record]] = {}
    for record in read_records(table):
        records.setdefault(record["path"], []).append(record)
    for path, data in _members(archive):
        if path not in records:
            raise SourceError(f"{archive}: member {path!r} is not in {table.name}; {download_again(archive)}")
        for record in records.pop(path):
            yield photograph(record, data)
    if records:
        raise SourceError(
            f"{archive}: {len(records)} images of {table.name} are missing, the first is {next(iter(records))}; {download_again(archive)}"
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
                    raise SourceError(f"{path}: member {member.name!r} is no file; {download_again(path)}")
                yield member.name, content.read()
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: damaged archive ({error}); {download_again(path)}") from None
