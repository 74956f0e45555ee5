"""Feature maps that the store has from earlier runs, by the image's bytes, its part, the network and the way of extraction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from pipeline.contracts.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.store import Store, digest_of, machine, pack_arrays, unpack_arrays
from pipeline.extraction.planning import PlannedBatch
from pipeline.stage.fingerprint import code_fingerprint

KIND = "feature maps"
Maps = list[npt.NDArray[Any]]
"""Of one image: an array of the stored type per scale."""


def way_of_extraction(choice: NetworkChoice, parameters: ExtractParameters, weights: str) -> str:
    """What decides the maps of an image besides its pixels.

    Args:
        weights: fingerprint of the network's folder.
    """
    decides = parameters.model_dump(exclude={"shard_mib"})
    code = code_fingerprint("contracts", "networks", "patches", "extraction")
    return digest_of(choice.model_dump(), decides, weights, code, machine()).hex()


def keys_of(batch: PlannedBatch, way: str) -> list[bytes]:
    """The key of each image of a batch."""
    part = (batch.part.box, batch.part.centred) if batch.part else None
    return [digest_of(way, digest.hex(), part) for digest in batch.digests]


@dataclass(frozen=True)
class KnownMaps:
    """The store's maps of one way of extraction."""

    store: Store
    way: str

    def read(self, batches: Sequence[PlannedBatch]) -> dict[bytes, Maps]:
        """Maps by key, of the images that have some."""
        keys = [key for batch in batches for key in keys_of(batch, self.way)]
        return {key: unpack_arrays(value) for key, value in self.store.read(KIND, keys).items()}

    def write(self, batch: PlannedBatch, maps: Maps) -> None:
        """Keep the maps of a batch, an array (B, …) per scale."""
        values = {key: pack_arrays([scale[place] for scale in maps]) for place, key in enumerate(keys_of(batch, self.way))}
        self.store.write(KIND, values)
