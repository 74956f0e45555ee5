"""The pass over a large database as passes over its parts, which whoever works makes: see contracts/executors/executing.py.

A part is some descriptor shards that follow each other. Its pass is kept in the scratch store, so that a search that was stopped goes on.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.descriptors import images_of_shard, read_descriptors
from pipeline.contracts.executors.executing import Done, Place, Worker, run_tasks
from pipeline.contracts.results import Counts, Results
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.search.distances import scoring
from pipeline.search.label_counts import Labelled
from pipeline.search.one_pass import Pass
from pipeline.search.params import Distance
from pipeline.stage.fingerprint import code_fingerprint, fingerprint
from pipeline.stage.tables import gathered, replacing

PART_IMAGES = 2**18
"""Images of a part at least."""
BLOCK = 4096
ASKED = "asked.npz"
"""Queries and labelled images, in the scratch store."""
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class PassTask:
    """Some shards, the first of whose images has a place in the database."""

    place: int
    images: int
    shards: tuple[Path, ...]

    @property
    def name(self) -> str:
        return f"images-{self.place:012d}"

    @property
    def reads(self) -> tuple[Path, ...]:
        return self.shards


@dataclass(frozen=True)
class Passing:
    """Work: the pass over each part."""

    k: int
    distance: Distance
    on_gpu: bool = True

    def reads(self, folder: Path) -> tuple[Path]:
        return (folder / ASKED,)

    def open(self, place: Place) -> Worker:
        asked = _read(place.folder / ASKED)
        queries, known = torch.from_numpy(asked["asked"]).to(place.device), Labelled.of(asked)

        def make(task: PassTask) -> Done:
            own = Pass(queries, known, self.k, scoring(self.distance), place.threads)
            blocks = gathered((block for shard in task.shards for block in read_descriptors(shard, BLOCK)), BLOCK)
            for images in own.over(blocks, task.place):
                place.advance(images, 0)
                if own.too_many:
                    return Done([], task.images, task.images, {})
            _write(place.folder / f"{task.name}.npz", own.state())
            return Done([f"{task.name}.npz"], task.images, task.images, {})

        return make


def parts_of(shards: Sequence[Path]) -> list[PassTask]:
    """The parts of a database in the order of its shards."""
    parts: list[PassTask] = []
    own: list[Path] = []
    place = images = 0
    for shard in shards:
        own.append(shard)
        images += images_of_shard(shard)
        if images >= PART_IMAGES:
            parts.append(PassTask(place, images, tuple(own)))
            place, images, own = place + images, 0, []
    return [*parts, PassTask(place, images, tuple(own))] if own else parts


def search_parts(
    queries: torch.Tensor, known: Labelled, parts: Sequence[PassTask], database: str, k: int, distance: Distance
) -> tuple[Results, Counts] | None:
    """What one pass over all parts gives; None where images have to be counted in passes of their own.

    Args:
        database: fingerprint of the shards.
    """
    asked = known.state() | {"asked": queries.cpu().numpy()}
    digests = (hashlib.sha256(own.tobytes()).hexdigest() for own in asked.values())
    store = ScratchStore("search-parts", fingerprint(database, PART_IMAGES, k, distance, code_fingerprint("search"), *digests))
    _write(store.path(ASKED), asked)
    with Progress("search", sum(part.images for part in parts), "images") as progress:
        receipts = run_tasks(Passing(k, distance), parts, store, progress)
    whole = Pass(queries, known, k, scoring(distance))
    for receipt in receipts:
        if not receipt.files:
            return None
        whole.join(_read(store.path(receipt.files[0])))
    found, counts = whole.ended(sum(part.images for part in parts))
    shutil.rmtree(store.folder)
    with contextlib.suppress(OSError):  # another search has parts there
        store.home.rmdir()
    return None if counts is None else (found, counts)


def _write(path: Path, arrays: Arrays) -> None:
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}
