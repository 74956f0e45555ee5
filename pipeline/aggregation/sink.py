"""Descriptors on their way to a shard: checked, gathered into row groups."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.contracts.descriptors import descriptor_columns, descriptor_writer, from_stored, to_stored
from pipeline.contracts.features.product_codes import ProductCodes
from pipeline.contracts.features.storage import Storage
from pipeline.stage.errors import SanityError
from pipeline.stage.fingerprint import fingerprint

ROWS_PER_GROUP = 2048
Floats = npt.NDArray[np.float32]


class DescriptorSink:
    """Context manager that writes one shard, if anything is added.

    Attributes:
        images: whose descriptors were taken.
        zeros: those among them whose descriptors are all zero: images without any activation.
        dimensions: of a descriptor.
        varies: whether two of them differ.
        rounding: largest distance of a stored vector from the one that was added.
    """

    def __init__(self, path: Path, storage: Storage | ProductCodes = "float32") -> None:
        self.path, self.storage = path, storage
        self.rounding = 0.0
        self.images = self.zeros = self.dimensions = 0
        self.varies = False
        self._first: Floats | None = None
        self._ids: list[str] = []
        self._vectors: list[Floats] = []
        self._open = ExitStack()
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._open.__exit__(kind, error, trace)

    def add(self, image_ids: list[str], vectors: Floats) -> None:
        """Take descriptors (N, D), or those of patches (N, P, D).

        Raises:
            SanityError: a value is not finite.
        """
        if not image_ids:
            return
        finite = np.isfinite(vectors.reshape(len(vectors), -1)).all(axis=1)
        if not finite.all():
            broken = image_ids[int(finite.argmin())]
            raise SanityError(f"the descriptor of {broken} is not finite; look at its image, and at extract.precision")
        self._first = vectors[0] if self._first is None else self._first
        self.varies = self.varies or bool((vectors != self._first).any())
        self.zeros += int((vectors == 0).reshape(len(vectors), -1).all(axis=1).sum())
        self._ids += image_ids
        self._vectors.append(vectors)
        self.images += len(image_ids)
        self.dimensions = vectors.shape[-1]
        if len(self._ids) * (vectors.shape[1] if vectors.ndim == 3 else 1) >= ROWS_PER_GROUP:
            self._flush()

    @property
    def facts(self) -> dict[str, Any]:
        """What a stage sums up over its shards; `first` is equal for equal first descriptors."""
        first = "" if self._first is None else fingerprint(self._first.tobytes().hex())
        counts = {"images": self.images, "zeros": self.zeros, "dimensions": self.dimensions}
        return counts | {"varies": self.varies, "first": first, "rounding": self.rounding}

    def _flush(self) -> None:
        if not self._ids:
            return
        vectors = np.concatenate(self._vectors).astype(np.float32, copy=False)
        if self._writer is None:
            patches = vectors.shape[1] if vectors.ndim == 3 else None
            self._writer = self._open.enter_context(descriptor_writer(self.path, vectors.shape[-1], patches, self.storage))
        values = to_stored(vectors, self.storage)
        if self.storage != "float32":
            self.rounding = max(self.rounding, float(np.linalg.norm(vectors - from_stored(values, self.storage), axis=-1).max()))
        self._writer.write(descriptor_columns(self._ids, values))
        self._ids, self._vectors = [], []
