"""Code shards: one packed binary code per image, streamed block by block; and the folder that holds them next to their hash function."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.held_out import LearnedOn
from pipeline.stage.manifest import Facts, load_manifest
from pipeline.stage.tables import TableWriter, fixed_rows, gathered, open_writer, read_fixed_rows

KIND = "codes"
Codes = npt.NDArray[np.uint8]


class CodeFacts(Facts):
    """Of data/codes/BENCHMARK; `none` is the method without codes."""

    method: str
    parameters: dict[str, Any]
    learned_on: LearnedOn | None


def code_writer(path: Path, bits: int) -> AbstractContextManager[TableWriter]:
    """A writer of one shard; give it `code_columns`."""
    return open_writer(path, KIND, pa.schema([("image_id", pa.string()), ("code", pa.binary(bits // 8))]), bits=bits)


def code_columns(image_ids: list[str], codes: Codes) -> dict[str, Any]:
    """Codes (N, bits / 8) as columns of one row group; bit j stands in byte j // 8 at the place j % 8, the lowest first."""
    return {"image_id": image_ids, "code": fixed_rows(codes)}


def read_codes(path: Path, block: int = 65536) -> Iterator[tuple[list[str], Codes]]:
    """Stream (image ids, codes (n, bits / 8)) of a shard, at most `block` rows at a time."""
    return read_fixed_rows(path, KIND, "code", np.dtype(np.uint8), block)


def read_code_folder(folder: Path, prefix: str, block: int = 65536) -> Iterator[tuple[list[str], Codes]]:
    """Stream the shards of a code folder, about `block` rows at a time, whose names start with `prefix`: database-, queries- or distractors-."""
    paths = load_manifest(folder, KIND).paths(folder, prefix)
    return gathered((own for path in paths for own in read_codes(path, block)), block)
