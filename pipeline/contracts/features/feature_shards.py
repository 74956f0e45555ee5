"""Feature shards: the feature maps of images, or of their patches, one row group per batch of images with maps of equal size."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.patches import PatchForm
from pipeline.contracts.images.cells import Grid
from pipeline.contracts.images.image_shards import ImageFacts
from pipeline.stage.errors import ShardError
from pipeline.stage.manifest import Facts
from pipeline.stage.tables import TableWriter, open_table, open_writer, table_facts

KIND = "feature maps"
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("scale", pa.float32()),
        ("channels", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("map", pa.large_binary()),
        ("stride", pa.float32()),
        ("first", pa.float32()),
        ("image_width", pa.int32()),
        ("image_height", pa.int32()),
    ]
)
DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}


class FeatureFacts(Facts):
    """Of data/features/DATASET: what the maps were made with, and what the images were."""

    network: NetworkChoice
    extract: ExtractParameters
    images: ImageFacts


@dataclass(frozen=True)
class FeatureBatch:
    """Images of equal size with maps of equal size.

    Attributes:
        image_ids: B of them.
        width, height: pixels of the images.
        maps: one array (B, K, H, W) per scale, little-endian float16 or float32.
        scales: the scales' factors.
        grid: where the cells look at scale 1.
        patches: where the maps hold patches.
    """

    image_ids: list[str]
    width: int
    height: int
    maps: list[npt.NDArray[Any]]
    scales: list[float]
    grid: Grid
    patches: PatchForm | None = None


def feature_writer(path: Path, dtype: str, patches: PatchForm | None = None, **facts: Any) -> AbstractContextManager[TableWriter]:
    """A writer of one shard, of maps or of patches; give it `feature_columns`."""
    return open_writer(path, KIND, SCHEMA, dtype=dtype, patches=asdict(patches) if patches else None, **facts)


def feature_columns(batch: FeatureBatch, dtype: str) -> dict[str, list[object]]:
    """A batch as columns of one row group: scale by scale, image by image."""
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    for scale, maps in zip(batch.scales, batch.maps, strict=True):
        for image_id, feature_map in zip(batch.image_ids, maps, strict=True):
            values = np.ascontiguousarray(feature_map, DTYPES[dtype]).tobytes()
            row = (image_id, scale, *feature_map.shape, values, batch.grid.stride, batch.grid.first, batch.width, batch.height)
            for name, value in zip(SCHEMA.names, row, strict=True):
                columns[name].append(value)
    return columns


def read_features(path: Path) -> Iterator[FeatureBatch]:
    """Stream a shard batch by batch; memory is bounded by one row group.

    Raises:
        ShardError: a value's size does not fit its dimensions.
    """
    file = open_table(path, KIND)
    facts = table_facts(file)
    form = facts["patches"]
    patches = PatchForm(form["levels"], form["grid"], tuple(form["parts"])) if form else None
    for group in range(file.num_row_groups):
        yield _decode(file.read_row_group(group), DTYPES[facts["dtype"]], patches, path)


def _decode(table: pa.Table, dtype: np.dtype[Any], patches: PatchForm | None, path: Path) -> FeatureBatch:
    columns = {name: table.column(name).to_pylist() for name in SCHEMA.names if name != "map"}
    ids = list(dict.fromkeys(columns["image_id"]))
    values = table.column("map").combine_chunks()
    values = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
    offsets = np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1]
    data = values.buffers()[2]
    maps, scales = [], []
    for first in range(0, len(columns["image_id"]), len(ids)):
        shape = tuple(columns[name][first] for name in ("channels", "height", "width"))
        count = len(ids) * int(np.prod(shape))
        if offsets[first + len(ids)] - offsets[first] != count * dtype.itemsize:
            raise ShardError(
                f"{path}: the maps of {ids[0]} and its batch do not have {shape} values of {dtype}; remove the folder and run `dvc repro`"
            )
        maps.append(np.frombuffer(data, dtype, count, int(offsets[first])).reshape(len(ids), *shape))
        scales.append(columns["scale"][first])
    width, height = columns["image_width"][0], columns["image_height"][0]
    return FeatureBatch(ids, width, height, maps, scales, Grid(columns["stride"][0], columns["first"][0]), patches)
