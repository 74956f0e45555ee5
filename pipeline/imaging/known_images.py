"""Stored images that the store has from earlier runs, by the photograph's bytes, what is known of it, and how it is resized."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from pipeline.acquisition.sources import Photograph
from pipeline.contracts.executors.store import Store, digest_of, machine
from pipeline.contracts.images.cells import Part
from pipeline.contracts.images.image_shards import StoredImage
from pipeline.imaging.params import ResizeParameters
from pipeline.stage.catalogue import CatalogueRow
from pipeline.stage.fingerprint import code_fingerprint

KIND = "resized images"
Prepared = tuple[CatalogueRow, StoredImage | None]


class KnownImages:
    """Photographs prepared in one way."""

    def __init__(self, store: Store, parameters: ResizeParameters) -> None:
        self._store = store
        self._way = digest_of(parameters.effective(), code_fingerprint("contracts", "imaging"), machine()).hex()

    def prepared(
        self, photographs: Sequence[Photograph], prepare: Callable[[Iterable[Photograph]], Iterable[Prepared]]
    ) -> tuple[list[Prepared], int]:
        """What comes of photographs, in their order, and how many of them were not known and are prepared."""
        keys = [self._key(photograph) for photograph in photographs]
        found = self._store.read(KIND, keys)
        missing = [place for place, key in enumerate(keys) if key not in found]
        fresh = dict(zip(missing, prepare(photographs[place] for place in missing), strict=True))
        self._store.write(KIND, {keys[place]: _packed(*each) for place, each in fresh.items()})
        known = {place: _unpacked(found[key], photographs[place]) for place, key in enumerate(keys) if key in found}
        return [(known | fresh)[place] for place in range(len(photographs))], len(missing)

    def _key(self, photograph: Photograph) -> bytes:
        asked = photograph.role == "query"
        how = photograph.box if asked else photograph.box is not None  # a box crops a query; of others it says that pixels count
        return digest_of(self._way, hashlib.sha256(photograph.data).hexdigest(), asked, how, photograph.rotation, photograph.exif)


def _packed(row: CatalogueRow, image: StoredImage | None) -> bytes:
    """A line of JSON, the image's look and its bytes."""
    about: dict[str, Any] = {"row": {"width": row.width, "height": row.height, "status": row.status}}
    if image is None:
        return json.dumps(about).encode()
    look = image.look or b""
    about |= {"size": (image.width, image.height), "scale": image.scale, "part": image.part and asdict(image.part), "look": len(look)}
    return json.dumps(about).encode() + b"\n" + look + image.bytes


def _unpacked(value: bytes, photograph: Photograph) -> Prepared:
    line, _, rest = value.partition(b"\n")
    about = json.loads(line)
    row = replace(catalogue_row(photograph), **about["row"])
    if "size" not in about:
        return row, None
    part = about["part"] and Part(tuple(about["part"]["box"]), about["part"]["centred"])
    look, data = rest[: about["look"]], rest[about["look"] :]
    width, height = about["size"]
    return row, StoredImage(photograph.image_id, data, width, height, about["scale"], part, look or None, photograph.role)


def catalogue_row(photograph: Photograph) -> CatalogueRow:
    """The row of a photograph that is not decoded yet."""
    x0, y0, x1, y1 = photograph.box or (None, None, None, None)
    return CatalogueRow(
        photograph.image_id,
        photograph.path,
        hashlib.sha256(photograph.data).hexdigest(),
        0,
        0,
        photograph.role,
        photograph.instance,
        x0,
        y0,
        x1,
        y1,
        rotation=photograph.rotation,
        facts=json.dumps(photograph.facts, sort_keys=True, ensure_ascii=False) if photograph.facts else None,
    )
