"""Photographs of a benchmark that its held-out set shows as well: byte for byte, or resized, compressed again or cropped slightly."""

import logging
from collections.abc import Sequence

from pipeline.contracts.benchmarks import BenchmarkParameters
from pipeline.contracts.held_out import duplicated
from pipeline.imaging.looks import look_alikes, read_all_looks
from pipeline.stage import places
from pipeline.stage.catalogue import CatalogueRow
from pipeline.stage.errors import LeakageError

log = logging.getLogger(__name__)
SEARCHED = ("database", "query")


def leaking_photographs(sets: BenchmarkParameters, held_out: Sequence[CatalogueRow], rows: Sequence[CatalogueRow]) -> list[tuple[str, str]]:
    """(held-out id, benchmark id) of photographs that are the same; an image that serves as both, as self-learning does, is no pair.

    Args:
        held_out: the rows that models are learned on.
        rows: of the data set that is searched.
    """
    searched = [row for row in rows if row.role in SEARCHED and row.readable]
    found = dict.fromkeys(duplicated(held_out, searched))
    own_ids, own = read_all_looks(places.images(sets.held_out), {row.image_id for row in held_out})
    ids, looks = read_all_looks(places.images(sets.dataset), {row.image_id for row in searched})
    for pair in look_alikes(own, looks) if len(own) and len(looks) else []:
        first, second = own_ids[pair.first], ids[pair.second]
        if (sets.held_out, first) != (sets.dataset, second):
            found[first, second] = None
    return list(found)


def refuse_duplicates(benchmark: str, sets: BenchmarkParameters, pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse a model that was learned on photographs of the benchmark, or say so where that is allowed.

    Raises:
        LeakageError: unless the benchmark allows it.
    """
    held_out, image = pairs[0]
    told = (
        f"{len(pairs)} photographs of {sets.dataset} are in the held-out set {sets.held_out} as well, the first is {image} (held out as {held_out})"
    )
    if not sets.allow_self_learning:
        raise LeakageError(f"benchmarks.{benchmark}: {told}; take them out of one of them, or set benchmarks.{benchmark}.allow_self_learning: true")
    log.warning("%s.", told)
