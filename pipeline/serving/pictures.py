"""The pictures of a collection's images: thumbnails, and the resized photographs where the stages' results still lie there."""

from functools import cached_property
from pathlib import Path

from pipeline.contracts.collections import IMAGES
from pipeline.contracts.images.image_shards import KIND, read_images
from pipeline.search.collection import Collection
from pipeline.stage.errors import PipelineError
from pipeline.stage.manifest import load_manifest
from pipeline.stage.tables import open_table

TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class Pictures:
    """Of one version of a collection.

    Args:
        images: data/images, which may be missing where a collection was copied elsewhere.
    """

    def __init__(self, collection: Collection, images: Path) -> None:
        own = collection.version.folder / IMAGES
        self._collection, self._folder = collection, own if own.exists() else images / collection.facts.dataset

    @cached_property
    def _places(self) -> dict[str, Path]:
        """The shard of every image; empty where the photographs are not there."""
        found: dict[str, Path] = {}
        try:
            for path in load_manifest(self._folder, KIND).paths(self._folder):
                found |= dict.fromkeys(open_table(path, KIND).read(columns=["image_id"]).column(0).to_pylist(), path)
        except (PipelineError, OSError):
            return {}
        return found

    def large(self, image_id: str) -> tuple[bytes, str]:
        """The resized photograph, or the thumbnail where there is no more; and its media type.

        Raises:
            KeyError: the collection has no such image.
        """
        small = self._collection.thumbnail(image_id)
        try:
            data = next((stored.bytes for stored in read_images(self._places[image_id], {image_id})), small)
        except (KeyError, PipelineError, OSError):
            data = small
        return data, next(kind for start, kind in TYPES.items() if data.startswith(start))

    def small(self, image_id: str) -> tuple[bytes, str]:
        """The thumbnail; see `large`."""
        return self._collection.thumbnail(image_id), "image/jpeg"
