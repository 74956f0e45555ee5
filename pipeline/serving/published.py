"""The collections that are served: each is opened once, and again whenever the stages have made a new version of it."""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow.compute as pc

from pipeline.contracts.collections import POINTER, current_version, is_version
from pipeline.search.collection import Collection
from pipeline.serving.limits import Limits
from pipeline.serving.pictures import Pictures
from pipeline.serving.refusals import RefusedError
from pipeline.stage.errors import PipelineError

log = logging.getLogger(__name__)


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
        folders: of collections or of single versions.
        images: data/images.
    """

    def __init__(self, folders: dict[str, Path], images: Path, limits: Limits) -> None:
        self._folders, self._images, self.limits = folders, images, limits
        self._served: dict[str, Served] = {}

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
        for name, folder in self._folders.items():
            try:
                if self._is_new(name, folder):
                    collection = Collection.open(folder)
                    found.append(Served(name, collection, Pictures(collection, self._images)))
            except (PipelineError, OSError) as error:
                log.warning("%s: cannot be opened (%s)", name, error)
        return found

    def serve(self, served: Served) -> None:
        """Answer from this version from now on."""
        self._served[served.name] = served
        log.info("%s: %d images, version %s", served.name, len(served.collection), served.version)

    def _is_new(self, name: str, folder: Path) -> bool:
        served = self._served.get(name)
        if served is None:
            return is_version(folder) or (folder / POINTER).exists()
        return not is_version(folder) and (folder / POINTER).exists() and current_version(folder).folder.name != served.version
