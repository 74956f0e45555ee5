"""The collections that are served: each is opened once, and again whenever the stages have made a new version of it."""

import logging
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import pyarrow.compute as pc

from pipeline.contracts.collections import POINTER, Version, hold_version, is_version, link_version, open_version, version_in_use
from pipeline.search.collection import Collection
from pipeline.serving.limits import Limits
from pipeline.serving.pictures import Pictures
from pipeline.serving.refusals import RefusedError
from pipeline.stage import places
from pipeline.stage.errors import PipelineError

log = logging.getLogger(__name__)
RETRY_SECONDS = 60.0
"""Until a version that could not be opened is tried again."""


@dataclass(frozen=True)
class Served:
    """An open version of a collection, and what pages show of it.

    Attributes:
        name: under which it is asked.
    """

    name: str
    collection: Collection
    pictures: Pictures = field(compare=False)

    @property
    def version(self) -> str:
        """The name of the version."""
        return self.collection.version.folder.name

    @cached_property
    def instances(self) -> dict[str, list[str]]:
        """The ids of the images of every instance, both in alphabetical order."""
        table = self.collection.images.select(["instance", "image_id"])
        named = table.filter(pc.is_valid(table.column("instance"))).sort_by([("instance", "ascending"), ("image_id", "ascending")])
        grouped = named.group_by("instance", use_threads=False).aggregate([("image_id", "list")])
        return dict(zip(grouped.column("instance").to_pylist(), grouped.column("image_id_list").to_pylist(), strict=True))


class Published:
    """Collections by name.

    Args:
        find: the folders of collections or of single versions, by name; asked again at every look, as the stages make new collections.
        images: data/images.
        home: a folder that versions of data/collection are linked into before they are opened, so that what the stages leave there is the
            same whether or not somebody answers from it; None: every version is opened where it lies.
    """

    def __init__(self, find: Callable[[], dict[str, Path]], images: Path, limits: Limits, home: Path | None) -> None:
        self._find, self._images, self.limits, self._home = find, images, limits, home
        self._folders = find()
        self._served: dict[str, Served] = {}
        self._put_off: dict[str, tuple[str, float]] = {}

    @property
    def names(self) -> list[str]:
        """Names that may be asked, in alphabetical order."""
        return sorted(self._folders)

    def is_open(self, name: str) -> bool:
        """Whether a collection can be asked now."""
        return name in self._served

    def get(self, name: str) -> Served:
        """A collection; the only one where no name is given.

        Raises:
            RefusedError: there is no such collection, or it cannot be opened now.
        """
        if not name and len(self._folders) == 1:
            name = next(iter(self._folders))
        if name not in self._folders:
            raise RefusedError(404, f"no such collection; there are: {', '.join(self.names)}" if name else f"name one of {', '.join(self.names)}")
        if name not in self._served:
            raise RefusedError(503, f"{name} is not open yet", 2)
        return self._served[name]

    def opened(self) -> list[Served]:
        """What is not served yet: collections that are there now, and new versions; opened. What cannot be opened stays as it is."""
        found = []
        self._folders = self._folders | self._find()  # one that is gone is answered from as long as the service lives
        for name, folder in self._folders.items():
            version = _version_of(folder)
            if not self._is_wanted(name, version):
                continue
            try:
                collection = self._opened(name, folder)
                found.append(Served(name, collection, Pictures(collection, self._images)))
            except Exception as error:  # a damaged one, one of another version of the project, a full graphics card: the others go on
                self.put_off(name, version, error)
        return found

    def _opened(self, name: str, folder: Path) -> Collection:
        if self._home is None or folder.parent != places.COLLECTIONS:
            return Collection.open(folder)
        place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._home))
        try:
            collection = Collection.open(open_version(folder, partial(_linked, place)).folder)
        except BaseException as error:
            shutil.rmtree(place, ignore_errors=True)
            if isinstance(error, PipelineError):
                return Collection.open(folder)  # which says what is wrong by the name that it has there
            raise
        weakref.finalize(collection, shutil.rmtree, place, ignore_errors=True)
        return collection

    def serve(self, served: Served) -> None:
        """Answer from this version from now on."""
        self._served[served.name] = served
        log.info("%s: %d images, version %s", served.name, len(served.collection), served.version)

    def put_off(self, name: str, version: str, error: Exception) -> None:
        """Say that a version cannot be used, and leave it alone for RETRY_SECONDS."""
        self._put_off[name] = version, time.monotonic() + RETRY_SECONDS
        log.warning("%s: version %s cannot be used (%s: %s)", name, version, type(error).__name__, " ".join(str(error).split()))

    def _is_wanted(self, name: str, version: str) -> bool:
        """Whether a folder holds a version that is neither served nor put off."""
        served, (failed, until) = self._served.get(name), self._put_off.get(name, ("", 0.0))
        if not version or (served is not None and served.version == version):
            return False
        return version != failed or time.monotonic() >= until


def _linked(home: Path, version: Version) -> Version:
    with hold_version(version.folder):
        return link_version(version, home / version.folder.name)


def _version_of(folder: Path) -> str:
    """The name of the version in use; empty where there is none yet, `unknown` where opening it will say what is wrong."""
    try:
        if is_version(folder):
            return folder.name
        return version_in_use(folder) if (folder / POINTER).exists() else ""
    except (PipelineError, OSError):
        return "unknown"
