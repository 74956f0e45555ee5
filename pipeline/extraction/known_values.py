"""What the store has of images from earlier runs, by the image's bytes, its part, the network and the way of extraction."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.contracts.executors.store import Store, digest_of, machine, pack_arrays, unpack_arrays
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.extraction.loading import LoadedBatch, Values, computed_batches
from pipeline.extraction.planning import PlannedBatch
from pipeline.stage.fingerprint import code_fingerprint

KIND = "feature maps"


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
class KnownValues:
    """What the store has of images of one kind, made in one way: a list of arrays per image."""

    store: Store
    kind: str
    way: str

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Values]:
        """Values by key, of the images that have some."""
        return {key: unpack_arrays(value) for key, value in self.store.read(self.kind, keys).items()}

    def write(self, keys: Sequence[bytes], values: Values) -> None:
        """Keep the values of a batch, arrays (B, …)."""
        self.store.write(self.kind, {key: pack_arrays([array[place] for array in values]) for place, key in enumerate(keys)})


NOTHING = KnownValues(Store(Path(), 0), "", "")
"""No value is known, and none is kept."""


def completed(
    batches: Sequence[PlannedBatch], known: KnownValues, threads: int, compute: Callable[[LoadedBatch], Values], at_once: int | None
) -> Iterator[tuple[PlannedBatch, Values, int]]:
    """Each batch with its arrays (B, …), and how many of its images were computed, which are kept; the others were known.

    Args:
        compute: arrays (B, …) of a loaded batch; called from several threads.
        at_once: images that one thread computes; None where the caller's thread computes everything, on an accelerator.
    """
    keys = [keys_of(batch, known.way) for batch in batches]
    found = known.read([key for own in keys for key in own])
    missing = [[place for place, key in enumerate(own) if key not in found] for own in keys]
    fresh = computed_batches([batch.only(places) for batch, places in zip(batches, missing, strict=True) if places], compute, threads, at_once)
    for batch, own, places in zip(batches, keys, missing, strict=True):
        values = [found.get(key, []) for key in own]
        if places:
            computed = next(fresh)
            known.write([own[place] for place in places], computed)
            for row, place in enumerate(places):
                values[place] = [array[row] for array in computed]
        yield batch, [np.stack(arrays) for arrays in zip(*values, strict=True)], len(places)
