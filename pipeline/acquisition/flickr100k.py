"""Flickr100k: 100,071 photographs of everything, the distractors of Oxford105k and Paris106k (Philbin et al., CVPR 2007).

Published as a RAR archive in 40 volumes.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.acquisition.sources import Dataset, Photograph, RemoteFile
from pipeline.contracts.catalogue import CatalogueRow, GroundTruth
from pipeline.contracts.errors import SourceError

ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/oxbuildings/ox100k"
VOLUMES = tuple(RemoteFile(f"{ADDRESS}/oxc1_100k.part{part:02d}.rar", f"oxc1_100k.part{part:02d}.rar") for part in range(1, 41))


class Flickr100k(Dataset):
    title = "Flickr100k: distractors of Oxford105k and Paris106k"
    images, queries, megabytes = 100071, 0, 20000

    def files(self) -> tuple[RemoteFile, ...]:
        return VOLUMES

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        for path, data in rar_members(raw / self.files()[0].name):
            if path.lower().endswith(".jpg"):
                name = PurePosixPath(path)
                yield Photograph(f"flickr100k/{name.parent.name}/{name.stem}", path, data, role="distractor")

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return GroundTruth("instances", (), ())


def rar_members(first_volume: Path) -> Iterator[tuple[str, bytes]]:
    """Stream (name, content) of a RAR archive's files.

    Raises:
        SourceError: damaged, a volume is missing, or the members are compressed and no unpacker is installed.
    """
    import rarfile

    from pipeline.acquisition.archives import refuse_hostile

    try:
        with rarfile.RarFile(first_volume) as archive:
            for info in archive.infolist():
                refuse_hostile(first_volume, info.filename, info.file_size)
                if info.is_symlink():
                    raise SourceError(f"{first_volume}: member {info.filename!r} is a link; the archive is refused")
                if not info.is_dir():
                    yield info.filename, archive.read(info)
    except rarfile.RarCannotExec:
        tools = [tool for tool in ("unrar", "unar", "7z", "bsdtar") if shutil.which(tool)]
        raise SourceError(f"{first_volume}: its members are compressed; install unrar (found: {', '.join(tools) or 'no unpacker'})") from None
    except rarfile.Error as error:
        raise SourceError(f"{first_volume}: damaged RAR archive or a missing volume ({error}); remove it and run the download stage again") from None
