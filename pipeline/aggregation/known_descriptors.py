"""Descriptors of distractors that the store has from earlier runs, by the image's bytes, the way of extraction and the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt

from pipeline.contracts.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.models import KIND as MODEL
from pipeline.contracts.store import Store, digest_of, pack_arrays, unpack_arrays
from pipeline.extraction.known_maps import keys_of, way_of_extraction
from pipeline.extraction.planning import PlannedBatch
from pipeline.stage import places
from pipeline.stage.fingerprint import code_fingerprint
from pipeline.stage.manifest import load_manifest

KIND = "descriptors of distractors"


@dataclass(frozen=True)
class KnownDescriptors:
    """The store's descriptors of one way to make them."""

    store: Store
    way: str

    @classmethod
    def of(cls, benchmark: str, choice: NetworkChoice, parameters: ExtractParameters) -> Self:
        """Those that a benchmark's model makes; benchmarks with the same model share them."""
        weights = load_manifest(places.network(choice.name), "network").fingerprint
        model = load_manifest(places.models(benchmark), MODEL).fingerprint
        code = code_fingerprint("aggregation", "maps", "projections", "imaging")
        return cls(Store.open(), digest_of(way_of_extraction(choice, parameters, weights), model, code).hex())

    def keys(self, batch: PlannedBatch) -> list[bytes]:
        """The key of each image of a batch."""
        return keys_of(batch, self.way)

    def read(self, batches: Sequence[PlannedBatch]) -> dict[bytes, npt.NDArray[Any]]:
        """Descriptors (D,), or those of patches (P, D), by key, of the images that have some."""
        keys = [key for batch in batches for key in self.keys(batch)]
        return {key: unpack_arrays(value)[0] for key, value in self.store.read(KIND, keys).items()}

    def write(self, batch: PlannedBatch, vectors: npt.NDArray[Any]) -> None:
        """Keep the descriptors of a batch (B, …)."""
        self.store.write(KIND, {key: pack_arrays([vector]) for key, vector in zip(self.keys(batch), vectors, strict=True)})
