"""Vectors as codes of a product quantiser: each part of a vector as the number of its nearest centroid (Jégou et al., PAMI 2011)."""

import base64
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

CENTROIDS = 256
"""Of each part, so that a part takes one byte."""
CODEBOOKS = "quantiser.codebooks"
"""Name of the tensor in a model that learned some."""
Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ProductCodes:
    """Attributes:
    codebooks: (M, 256, D / M) float32, of values that float16 has.
    """

    codebooks: Floats

    @property
    def bytes(self) -> int:
        """M, of a code."""
        return len(self.codebooks)

    @property
    def dimensions(self) -> int:
        """D, of a vector."""
        parts, _, each = self.codebooks.shape
        return int(parts * each)

    def encode(self, vectors: Floats) -> Codes:
        """(…, D) to (…, M)."""
        rows = np.ascontiguousarray(vectors, np.float32).reshape(-1, self.dimensions)
        codes: Codes = self._quantiser.compute_codes(rows)
        return codes.reshape(*vectors.shape[:-1], self.bytes)

    def decode(self, codes: Codes) -> Floats:
        """(…, M) to the centroids (…, D) that the codes mean."""
        centroids = self.codebooks[np.arange(self.bytes), codes]
        return centroids.reshape(*codes.shape[:-1], self.dimensions)

    @cached_property
    def _quantiser(self) -> Any:
        import faiss

        quantiser = faiss.ProductQuantizer(self.dimensions, self.bytes, 8)
        faiss.copy_array_to_vector(self.codebooks.ravel(), quantiser.centroids)
        return quantiser

    def as_text(self) -> dict[str, Any]:
        """For the metadata of a shard, which is read without any other file."""
        return {"shape": list(self.codebooks.shape), "values": base64.b64encode(self.codebooks.astype("<f2").tobytes()).decode()}

    @classmethod
    def from_text(cls, text: dict[str, Any]) -> Self:
        return cls(np.frombuffer(base64.b64decode(text["values"]), "<f2").reshape(text["shape"]).astype(np.float32))


@dataclass(frozen=True)
class CodedRows:
    """Rows (N, …, D) float32 that are held as codes (N, …, M), and decoded as far as they are looked at."""

    held: Codes
    codes: ProductCodes

    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return *self.held.shape[:-1], self.codes.dimensions

    @property
    def ndim(self) -> int:
        return self.held.ndim

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, places: slice | npt.NDArray[np.int64]) -> Floats:
        return self.codes.decode(self.held[places])
