"""Descriptors on their way to shards: gathered into row groups, checked, split into files of bounded size."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from pipeline.contracts.descriptors import descriptor_columns, descriptor_writer
from pipeline.stage.errors import SanityError
from pipeline.stage.tables import TableWriter

ROWS_PER_GROUP = 2048
ROWS_PER_FILE = 2**17


class DescriptorSink:
    """Context manager that writes PREFIX-00000.parquet, PREFIX-00001.parquet, … into a folder.

    Args:
        split: whether a new file is begun when one has ROWS_PER_FILE rows; else there is one.

    Attributes:
        names: the files written.
        images: whose descriptors were taken.
        zeros: those among them whose descriptors are all zero: images without any activation.
        dimensions: of a descriptor.
        varies: whether two of them differ.
    """

    def __init__(self, folder: Path, prefix: str, *, split: bool = True) -> None:
        self.folder, self.prefix, self.split = folder, prefix, split
        self.names: list[str] = []
        self.images = self.zeros = self.dimensions = self._in_file = 0
        self.varies = False
        self._first: torch.Tensor | None = None
        self._ids: list[str] = []
        self._vectors: list[torch.Tensor] = []
        self._open = ExitStack()
        self._writer: TableWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._open.__exit__(kind, error, trace)

    def add(self, image_ids: list[str], vectors: torch.Tensor) -> None:
        """Take descriptors (N, D), or those of patches (N, P, D).

        Raises:
            SanityError: a value is not finite.
        """
        if not image_ids:
            return
        finite = torch.isfinite(vectors).flatten(1).all(dim=1)
        if not finite.all():
            broken = image_ids[int((~finite).nonzero()[0])]
            raise SanityError(f"the descriptor of {broken} is not finite; look at its image, and at extract.precision")
        self._first = vectors[0] if self._first is None else self._first
        self.varies = self.varies or bool((vectors != self._first).any())
        self.zeros += int((vectors == 0).flatten(1).all(dim=1).sum())
        self._ids += image_ids
        self._vectors.append(vectors.cpu())
        self.images += len(image_ids)
        self.dimensions = vectors.shape[-1]
        if len(self._ids) * (vectors.shape[1] if vectors.dim() == 3 else 1) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._ids:
            return
        vectors = torch.cat(self._vectors).numpy().astype(np.float32, copy=False)
        patches = vectors.shape[1] if vectors.ndim == 3 else None
        if self._writer is None or (self.split and self._in_file >= ROWS_PER_FILE):
            self._open.close()
            self.names.append(f"{self.prefix}-{len(self.names):05d}.parquet")
            writer = descriptor_writer(self.folder / self.names[-1], vectors.shape[-1], patches)
            self._writer = self._open.enter_context(writer)
            self._in_file = 0
        self._writer.write(descriptor_columns(self._ids, vectors))
        self._in_file += len(self._ids) * (patches or 1)
        self._ids, self._vectors = [], []
