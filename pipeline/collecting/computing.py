"""What a collection needs arithmetic for: augmented rows, an index, and what the index costs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from pipeline.collecting.loss import measure_loss
from pipeline.contracts.collection_rows import product_codes
from pipeline.contracts.collections import CATALOGUE, CollectionFacts, IndexFacts, Version, map_rows
from pipeline.contracts.descriptors import images_of_shard, shards_of
from pipeline.contracts.running.device import choose_device, hold
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.reranking.params import AugmentationParameters
from pipeline.search.augmented_rows import augmented_rows, in_blocks
from pipeline.search.candidate_index import build_candidate_index, drawn, learned_lists, learning_rows, save_index
from pipeline.search.collection_params import CollectionParameters
from pipeline.search.database import Database
from pipeline.search.inverted_lists import write_inverted
from pipeline.search.params import SearchParameters
from pipeline.stage.catalogue import GroundTruth
from pipeline.stage.fingerprint import code_fingerprint, file_sha256, fingerprint
from pipeline.stage.tables import open_table

Blocks = Iterator[tuple[list[str], npt.NDArray[Any]]]


def augmented(blocks: Blocks, images: int, parameters: AugmentationParameters, instances: Mapping[str, str]) -> Blocks:
    """Blocks of (image ids, descriptors) after augmentation; see `augmented_rows`."""
    with hold(choose_device()) as device:
        return in_blocks(*augmented_rows(blocks, images, parameters, instances, device))


def write_index(path: Path, index: IndexFacts, parameters: CollectionParameters, rows: Path, descriptors: Path, candidates: str | None) -> None:
    """Build the index of a file of rows.

    Args:
        descriptors: data/descriptors/BENCHMARK, whose held-out descriptors are learned on.
        candidates: see `drawn`.
    """
    own = map_rows(rows)
    held_out = drawn(descriptors, candidates, learning_rows(index.kind, parameters, len(own)))
    with hold(choose_device()):
        if index.kind != "ivf_pq":
            save_index(build_candidate_index(index.kind, parameters, own, held_out), path)
            return
        empty = learned_lists(parameters, own.shape, held_out)
    store = ScratchStore(f"collection-{descriptors.name}", fingerprint(file_sha256(rows), parameters.model_dump(), code_fingerprint("search")))
    write_inverted(path, empty, rows, [images_of_shard(shard) for shard in shards_of(descriptors, "database-")], store)


def measured(folder: Path, facts: CollectionFacts, search: SearchParameters, queries: Blocks, truth: GroundTruth) -> dict[str, float]:
    """What the index of a version's folder costs; see `measure_loss`."""
    names = open_table(folder / CATALOGUE, "catalogue").read(columns=["image_id"]).column(0)
    with hold(choose_device()) as device:
        return measure_loss(Database(folder, facts.index, names, search, device, product_codes(Version(folder, facts))), queries, truth)
