"""Flickr100k: 100,071 photographs of everything, the distractors of Oxford105k and Paris106k (Philbin et al., CVPR 2007).

Published as a RAR archive in 40 volumes. `held_out: 5000` makes so many of them, drawn by `seed`, a held-out set to learn on, as
papers that search Holidays do; those are no distractors then.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from pydantic import Field

from pipeline.acquisition.sources import Dataset, DatasetParameters, Photograph
from pipeline.downloads.remote_file import RemoteFile, download_again
from pipeline.stage.catalogue import CatalogueRow, GroundTruth
from pipeline.stage.errors import SourceError

ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/oxbuildings/ox100k"
VOLUMES = tuple(RemoteFile(f"{ADDRESS}/oxc1_100k.part{part:02d}.rar", f"oxc1_100k.part{part:02d}.rar") for part in range(1, 41))


class Flickr100kParameters(DatasetParameters):
    held_out: int = Field(0, ge=0, description="photographs to learn on instead of mixing them in")
    seed: int = Field(0, ge=0, description="of their draw")


class Flickr100k(Dataset):
    Parameters: ClassVar[type[DatasetParameters]] = Flickr100kParameters
    title = "Flickr100k: distractors of Oxford105k and Paris106k"
    images, queries, megabytes = 100071, 0, 20000

    def files(self) -> tuple[RemoteFile, ...]:
        return VOLUMES

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        assert isinstance(self.parameters, Flickr100kParameters)
        archive = raw / self.files()[0].name
        held_out = drawn(rar_names(archive), self.parameters.held_out, self.parameters.seed)
        for path, data in rar_members(archive):
            if path.lower().endswith(".jpg"):
                name = PurePosixPath(path)
                role = "held_out" if path in held_out else "distractor"
                yield Photograph(f"flickr100k/{name.parent.name}/{name.stem}", path, data, role=role)

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return GroundTruth("instances", (), ())


def drawn(paths: Iterable[str], count: int, seed: int) -> set[str]:
    """`count` of the photographs among the paths, the same for the same seed whatever their order."""
    photographs = [path for path in paths if path.lower().endswith(".jpg")]
    return set(sorted(photographs, key=lambda path: hashlib.sha256(f"{seed} {path}".encode()).digest())[:count])


def rar_names(first_volume: Path) -> list[str]:
    """The names of a RAR archive's files.

    Raises:
        SourceError: damaged, or a volume is missing.
    """
    import rarfile

    try:
        with rarfile.RarFile(first_volume) as archive:
            return [str(info.filename) for info in archive.infolist() if not info.is_dir()]
    except rarfile.Error as error:
        raise _damaged(first_volume, error) from None


def _damaged(first_volume: Path, error: Exception) -> SourceError:
    return SourceError(f"{first_volume}: damaged RAR archive or a missing volume ({error}); {download_again(first_volume)}")


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
        raise _damaged(first_volume, error) from None
