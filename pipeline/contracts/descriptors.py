"""Descriptor shards: one vector per image, or one per patch of an image, streamed block by block; float32, or rounded to half of the bytes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pipeline.contracts.features.feature_shards import FeatureFacts
from pipeline.contracts.features.product_codes import ProductCodes
from pipeline.contracts.features.storage import STORED, Storage, decoded, encoded
from pipeline.contracts.held_out import HeldOutSet, KnownOverlap, LearnedOn, TrainedOn
from pipeline.stage.manifest import Facts, load_manifest
from pipeline.stage.tables import TableWriter, fixed_rows, gathered, open_table, open_writer, read_fixed_rows, table_facts

KIND, DISTRACTORS = "descriptors", "distractors"
"""What folders hold; the shards of both are descriptors."""
CODED = "product_codes"
"""How the metadata of a shard names vectors that are stored as codes."""
WHOLE_HELD_OUT = "whole_held_out"
"""Prefix of the shards that hold two vectors per held-out image where images have patches: the first patch, which is the whole image, and the
sum of all, l2-normalised. Indexes that make shortlists learn on them."""
WHOLE = {"whole_image": 0, "sum": 1}
"""Their places by `search.candidates`."""


class PatchCounts(BaseModel):
    """Patches of a database image and of a query; None where an image has one descriptor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database: int | None
    queries: int | None


class DescriptorFacts(Facts):
    """Of data/descriptors/BENCHMARK.

    Attributes:
        database, queries, held_out: images that are described.
        kept_back: images of the held-out set that nothing learned from, described like queries.
        zero_descriptors: database images without any activation.
        dimensions: of a descriptor.
        duplicates: images of the benchmark in the held-out set, where the method learned from it.
        storage: of the vectors' values.
        rounding: largest distance of a stored vector from the computed one, which two products differ by at most.
        code_bytes: of a database vector that is stored as a code; None where its values are.
    """

    database: int
    queries: int
    held_out: int
    kept_back: int
    patches: PatchCounts
    zero_descriptors: int
    dimensions: int
    method: str
    parameters: dict[str, Any]
    learned_on: LearnedOn | None
    network_trained_on: list[TrainedOn]
    network_overlaps: list[KnownOverlap]
    held_out_set: HeldOutSet
    duplicates: int
    storage: Storage
    rounding: float
    features: FeatureFacts
    code_bytes: int | None = None


class DistractorFacts(Facts):
    """Of data/distractors/BENCHMARK: how many there are, and which images of which data set; `storage` and `rounding` as of descriptors."""

    distractors: int
    dataset: str
    role: str
    storage: Storage
    rounding: float


Floats = npt.NDArray[np.float32]


def descriptor_writer(
    path: Path, dimensions: int, patches: int | None = None, storage: Storage | ProductCodes = "float32", **facts: Any
) -> AbstractContextManager[TableWriter]:
    """A writer of one shard of vectors with `dimensions` values; give it `descriptor_columns`.

    Args:
        patches: rows per image, where there is one per patch.
        storage: of the values, or codes of vectors, whose codebooks go into the shard's metadata.
    """
    if isinstance(storage, ProductCodes):
        width, how = storage.bytes, {"dtype": CODED, "codes": storage.as_text()}
    else:
        width, how = STORED[storage].itemsize * dimensions, {"dtype": storage}
    schema = pa.schema([("image_id", pa.string()), ("vector", pa.binary(width))])
    return open_writer(path, KIND, schema, raw_columns=["vector"], dimensions=dimensions, patches=patches, **how, **facts)


def to_stored(vectors: Floats, storage: Storage | ProductCodes) -> npt.NDArray[Any]:
    """What is stored of vectors (…, D): values of the stored type, or codes."""
    return storage.encode(vectors) if isinstance(storage, ProductCodes) else encoded(vectors, storage)


def from_stored(values: npt.NDArray[Any], storage: Storage | ProductCodes) -> Floats:
    """The vectors that are read of it."""
    return storage.decode(values) if isinstance(storage, ProductCodes) else decoded(values, storage)


def descriptor_columns(image_ids: list[str], values: npt.NDArray[Any]) -> dict[str, Any]:
    """What `to_stored` gives of vectors (N, D) as columns of one row group, or of those of patches (N, P, D), image by image."""
    if values.ndim == 3:
        image_ids, values = [image_id for image_id in image_ids for _ in range(values.shape[1])], values.reshape(-1, values.shape[2])
    return {"image_id": image_ids, "vector": fixed_rows(values)}


def read_descriptors(path: Path, block: int = 4096) -> Iterator[tuple[list[str], Floats]]:
    """Stream (image ids, vectors (n, D) float32) of a shard, at most about `block` rows at a time; of patches, vectors (n, P, D)."""
    facts = table_facts(open_table(path, KIND))
    storage = ProductCodes.from_text(facts["codes"]) if facts["dtype"] == CODED else facts["dtype"]
    for ids, values in _stored_rows(path, facts, block):
        yield ids, from_stored(values, storage)


def read_codes_of_folder(folder: Path, prefix: str, block: int = 4096) -> Iterator[tuple[list[str], npt.NDArray[np.uint8]]]:
    """Stream (image ids, codes (n, …, M)) of shards whose vectors are stored as codes of a product quantiser."""
    for path in shards_of(folder, prefix):
        yield from _stored_rows(path, table_facts(open_table(path, KIND)), block)


def _stored_rows(path: Path, facts: dict[str, Any], block: int) -> Iterator[tuple[list[str], npt.NDArray[Any]]]:
    """(image ids, what is stored of their vectors), about `block` rows at a time."""
    patches, dtype = facts["patches"], np.dtype(np.uint8) if facts["dtype"] == CODED else STORED[facts["dtype"]]
    for ids, values in read_fixed_rows(path, KIND, "vector", dtype, max(1, block // (patches or 1)) * (patches or 1)):
        yield (ids, values) if patches is None else (ids[::patches], values.reshape(-1, patches, values.shape[1]))


def read_folder(folder: Path, prefix: str, block: int = 4096) -> Iterator[tuple[list[str], Floats]]:
    """Stream the shards of a descriptor folder, about `block` rows at a time, whose names start with `prefix`: database-, queries-, held_out-,
    kept_back- or distractors-."""
    paths = shards_of(folder, prefix)
    images = max(1, block // _rows_per_image(paths[0])) if paths else 1
    return gathered((own for path in paths for own in read_descriptors(path, block)), images)


def shards_of(folder: Path, prefix: str) -> list[Path]:
    """The shards of a descriptor folder whose names start with `prefix`, in their order."""
    return load_manifest(folder, DISTRACTORS if prefix.startswith(DISTRACTORS) else KIND).paths(folder, prefix)


def images_of_shard(path: Path) -> int:
    """How many images a shard has."""
    table = open_table(path, KIND)
    return int(table.metadata.num_rows) // int(table_facts(table)["patches"] or 1)


def _rows_per_image(path: Path) -> int:
    """Patches of an image; 1 where it has one descriptor."""
    return int(table_facts(open_table(path, KIND))["patches"] or 1)
