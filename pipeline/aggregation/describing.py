"""Descriptors of each bucket of images from its feature maps, with what the store has of earlier runs."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pipeline.aggregation.describers.describer import Describer
from pipeline.aggregation.describers.registry import load_describer
from pipeline.aggregation.known_descriptors import known_descriptors
from pipeline.aggregation.sink import DescriptorSink
from pipeline.contracts.descriptors import WHOLE_HELD_OUT
from pipeline.contracts.executors.executing import Done, Place, Worker
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.product_codes import ProductCodes
from pipeline.contracts.features.storage import Storage
from pipeline.extraction.known_values import KnownValues, keys_of
from pipeline.extraction.planning import shard_batches
from pipeline.maps.pictures import PictureReader
from pipeline.maps.stream import stream_shards
from pipeline.projections.normalization import l2
from pipeline.stage import places

Floats = npt.NDArray[np.float32]
SETS = ("database", "queries", "held_out", "kept_back")


@dataclass(frozen=True)
class DescribeTask:
    """One bucket of a data set.

    Attributes:
        shard: of images.
        features: shards of its maps.
        wanted: ids by the set, of SETS, that they belong to; a query may be an image of the database.
    """

    dataset: str
    shard: Path
    features: tuple[Path, ...]
    wanted: Mapping[str, frozenset[str]]

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.shard.stem}"

    @property
    def reads(self) -> tuple[Path, ...]:
        return self.shard, *self.features

    @property
    def ids(self) -> frozenset[str]:
        """Of all sets."""
        return frozenset().union(*self.wanted.values())

    @property
    def images(self) -> int:
        return len(self.ids)

    def file(self, name: str) -> str:
        """Of the descriptors of a set, or of others made of one."""
        return f"{name}-{self.shard.stem.removeprefix('part-')}.parquet"


@dataclass(frozen=True)
class Describing:
    """Work: descriptors by a benchmark's model.

    Attributes:
        choice, parameters: the maps were extracted with.
        storage: of the descriptors.
    """

    benchmark: str
    choice: NetworkChoice
    parameters: ExtractParameters
    storage: Storage
    on_gpu: bool = True

    def reads(self, _folder: Path) -> tuple[Path, ...]:
        return places.models(self.benchmark), places.network(self.choice.name)

    def open(self, place: Place) -> Worker:
        device = torch.device(place.device)
        describer, _ = load_describer(places.models(self.benchmark), device)
        known = known_descriptors(self.benchmark, self.choice, self.parameters, None)
        return BucketDescriber(describer, self, known, place, device).describe


class BucketDescriber:
    """Writes the descriptors of buckets into a place's folder."""

    def __init__(self, describer: Describer, work: Describing, known: KnownValues, place: Place, device: torch.device) -> None:
        self._describer, self._known, self._place, self._device = describer, known, place, device
        self._storage, patch_levels = work.storage, work.parameters.patch_levels
        self._patches = {name: describer.patches("database" if name == "database" else "queries", patch_levels) for name in SETS}

    def describe(self, task: DescribeTask) -> Done:
        """Write SET-00000.parquet of each set that has images in the bucket."""
        keys = dict(
            pair for batch in shard_batches(task.shard, task.ids) for pair in zip(batch.image_ids, keys_of(batch, self._known.way), strict=True)
        )
        found = self._known.read(list(keys.values()))
        missing = {image_id for image_id, key in keys.items() if key not in found}
        vectors: dict[str, Floats] = {image_id: found[key][0] for image_id, key in keys.items() if key in found}
        self._place.advance(0, len(vectors))
        alive = np.zeros(0, bool)
        for ids, own, active in self._described(task, missing) if missing else ():
            self._known.write([keys[image_id] for image_id in ids], [own])
            vectors.update(zip(ids, own, strict=True))
            alive = active | (alive if len(alive) else active)
            self._place.advance(len(ids), 0)
        with ExitStack() as stack:
            sinks: dict[str, DescriptorSink] = {}
            for name, rows in self._rows(task, keys, vectors):
                sinks[name] = stack.enter_context(DescriptorSink(self._place.folder / task.file(name), self._stored_as(name)))
                sinks[name].add(list(rows), np.stack(list(rows.values())))
        facts = {"sets": {name: sink.facts for name, sink in sinks.items()}, "known": len(keys) - len(missing), "alive": alive.tolist()}
        return Done([task.file(name) for name in sinks], len(keys), len(missing), facts)

    def _stored_as(self, name: str) -> Storage | ProductCodes:
        """Codes are the database's alone: a query is compared as it is."""
        return (self._describer.product_codes if name == "database" else None) or self._storage

    def _described(self, task: DescribeTask, missing: set[str]) -> Iterator[tuple[list[str], Floats, npt.NDArray[np.bool_]]]:
        """(ids, vectors (B, D) or (B, P, D), channels that fire) of the images without a descriptor."""
        reader = PictureReader([task.shard]) if self._describer.parameters.needs_pictures else None
        with torch.inference_mode():
            for ids, maps in stream_shards(task.features, missing, self._device, reader):
                active = (maps.scales[0] != 0).any(dim=3).any(dim=2).any(dim=0)
                yield ids, self._describer.describe_each(maps).cpu().numpy(), active.cpu().numpy()

    def _rows(self, task: DescribeTask, keys: Mapping[str, bytes], vectors: Mapping[str, Floats]) -> Iterator[tuple[str, dict[str, Floats]]]:
        """The rows of each set that has some, in the order of the bucket. Of held-out patches the whole image and the sum are kept."""
        for name, wanted in task.wanted.items():
            own = {image_id: vectors[image_id] for image_id in keys if image_id in wanted}
            kept = self._patches[name]
            if not own:
                continue
            if kept is None:
                yield name, own
            elif name == "held_out":
                yield WHOLE_HELD_OUT, {image_id: _whole(rows[: self._patches["database"]]) for image_id, rows in own.items()}
            else:
                yield name, {image_id: rows[:kept] for image_id, rows in own.items()}


def _whole(patches: Floats) -> Floats:
    """(2, D): the first of an image's patches (P, D), which is the whole image, and the sum of all."""
    own = torch.from_numpy(patches)
    whole: Floats = torch.stack([l2(own[:1])[0], l2(own.sum(dim=0, keepdim=True))[0]]).numpy()
    return whole
