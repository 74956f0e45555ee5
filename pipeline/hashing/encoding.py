"""Learning a hash function on held-out descriptors and encoding all others, shard by shard."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.contracts.codes import code_columns, code_writer
from pipeline.contracts.descriptors import DescriptorFacts, read_descriptors, read_folder
from pipeline.contracts.executors.executing import Done, Place, Worker, run_tasks
from pipeline.contracts.held_out import LearnedOn
from pipeline.contracts.models import TENSORS
from pipeline.contracts.running.device import choose_device, hold
from pipeline.contracts.running.disk import human_bytes, require_free_space
from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.contracts.running.settings import settings
from pipeline.hashing.hasher import Hasher
from pipeline.hashing.params import HashParameters
from pipeline.hashing.registry import load_hasher, new_hasher
from pipeline.stage.errors import ModelError, SanityError
from pipeline.stage.manifest import CARD, Manifest

log = logging.getLogger(__name__)
ENCODED = ("database-", "queries-", "kept_back-", "distractors-")


def encode_descriptors(
    method: str,
    parameters: HashParameters,
    folders: list[tuple[Path, Manifest]],
    described: DescriptorFacts,
    count: int,
    store: ScratchStore,
    learned_on: LearnedOn,
) -> list[str]:
    """Learn on the first folder's held-out descriptors and encode the database, the queries and the distractors of all folders.

    Args:
        described: facts of the first folder.
        count: codes in all.

    Returns:
        The names of the files in the store, the model's among them.

    Raises:
        ModelError: too few held-out descriptors.
        SanityError: a descriptor that is not finite, by its image.
    """
    with hold(choose_device()) as device, torch.inference_mode():
        hasher = _learned(method, parameters, folders[0][0], described, device)
        hasher.save(store.folder, method=method, learned_on=learned_on.model_dump())
        needed = count * hasher.bits // 8
        log.info("Encoding %d descriptors on %s: %s of codes.", count, device, human_bytes(needed))
        require_free_space(settings().scratch, needed, "Encoding")
    tasks = [EncodeTask(path) for folder, manifest in folders for prefix in ENCODED for path in manifest.paths(folder, prefix)]
    with Progress("hash", count, "codes") as progress:
        receipts = run_tasks(Encoding(), tasks, store, progress)
    return [CARD, TENSORS, *(file for receipt in receipts for file in receipt.files)]


@dataclass(frozen=True)
class EncodeTask:
    """One descriptor shard."""

    shard: Path
    images: int = 0

    @property
    def name(self) -> str:
        return self.shard.stem

    @property
    def reads(self) -> tuple[Path]:
        return (self.shard,)


@dataclass(frozen=True)
class Encoding:
    """Work: codes of descriptor shards by the hash function that lies in the place's folder."""

    on_gpu: bool = True

    def reads(self, folder: Path) -> tuple[Path, ...]:
        return folder / CARD, folder / TENSORS

    def open(self, place: Place) -> Worker:
        device = torch.device(place.device)
        hasher = load_hasher(place.folder, device)

        def encode(task: EncodeTask) -> Done:
            with torch.inference_mode():
                codes = _encode_shard(task.shard, place.folder / task.shard.name, hasher, device)
            place.advance(codes, 0)
            return Done([task.shard.name], codes, codes, {})

        return encode


def _learned(method: str, parameters: HashParameters, folder: Path, described: DescriptorFacts, device: torch.device) -> Hasher:
    vectors = _drawn(folder, described.held_out, described.dimensions, parameters)
    if not len(vectors):
        raise ModelError(f"{folder}: no held-out descriptors, and hash.{method} learns from some; name another held_out")
    hasher = new_hasher(method, parameters).fit(vectors.to(device))
    if hasher.learned_axes_ < hasher.axes_:
        log.warning("%d held-out descriptors give %d of %d axes; the basis is completed.", hasher.count_, hasher.learned_axes_, hasher.axes_)
    return hasher


def _drawn(folder: Path, total: int, dimensions: int, parameters: HashParameters) -> torch.Tensor:
    """At most `learning_images` of the held-out descriptors, drawn evenly, in their order."""
    count = min(total, parameters.learning_images or total)
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(parameters.seed))[:count].sort().values.numpy()
    vectors = np.empty((count, dimensions), np.float32)
    offset = 0
    for ids, block in read_folder(folder, "held_out-"):
        first, last = np.searchsorted(chosen, (offset, offset + len(ids)))
        vectors[first:last] = block[chosen[first:last] - offset]
        offset += len(ids)
    return torch.from_numpy(vectors)


def _encode_shard(source: Path, target: Path, hasher: Hasher, device: torch.device) -> int:
    """Returns how many codes the shard has."""
    with code_writer(target, hasher.bits) as writer:
        for image_ids, vectors in read_descriptors(source):
            finite = np.isfinite(vectors).all(axis=1)
            if not finite.all():
                broken = image_ids[int(finite.argmin())]
                raise SanityError(f"{source}: the descriptor of {broken} is not finite; remove the folder and run `dvc repro`")
            codes = hasher.encode(torch.from_numpy(vectors.copy()).to(device))
            writer.write(code_columns(image_ids, codes.cpu().numpy()))
        return writer.rows
