"""Photographs of a data set that are the same or show the same scene: exact copies, near copies, and scenes that key points agree on."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.contracts.benchmarks import load_benchmarks
from pipeline.contracts.descriptors import KIND as DESCRIPTORS
from pipeline.contracts.descriptors import DescriptorFacts, read_folder
from pipeline.contracts.images.image_shards import KIND as IMAGES
from pipeline.contracts.images.image_shards import read_images
from pipeline.contracts.running.progress import Progress
from pipeline.imaging.images import decode
from pipeline.imaging.looks import look_alikes, read_all_looks
from pipeline.reranking.key_points import KeyPoints, Sift
from pipeline.reranking.params import SpatialVerificationParameters
from pipeline.reranking.spatial_verification import verify
from pipeline.search.indexes import build_index
from pipeline.stage import places
from pipeline.stage.catalogue import CatalogueRow, read_catalogue
from pipeline.stage.manifest import load_manifest

log = logging.getLogger(__name__)
EXACT, NEAR, SCENE = "exact copy", "near copy", "same scene"
NEIGHBOURS, INLIERS = 5, 20
"""Nearest images of each that are looked at for the same scene, and key points that have to agree."""


@dataclass(frozen=True)
class Pair:
    """Two images: of how they are the same, and how surely: the correlation of their grey values, or the key points that agree."""

    kind: str
    first: str
    second: str
    strength: float


def find_pairs(dataset: str, *, scenes: bool = True) -> list[Pair]:
    """Every pair once, as the closest kind that it is of.

    Args:
        scenes: whether key points of neighbours are compared, which takes about as long as the extraction. Neighbours are those of a benchmark
            that has described the data set; without one there are no scenes.

    Raises:
        ShardError: the data set has no images yet.
    """
    images = places.images(dataset)
    rows = [row for row in read_catalogue(images / places.CATALOGUE) if row.readable]
    found = {frozenset((pair.first, pair.second)): pair for pair in _exact(rows)}
    names, looks = read_all_looks(images, {row.image_id for row in rows})
    for alike in look_alikes(looks) if names else []:
        pair = Pair(NEAR, names[alike.first], names[alike.second], alike.correlation)
        found.setdefault(frozenset((pair.first, pair.second)), pair)
    if scenes:
        candidates = [pair for pair in _neighbours(dataset, {row.image_id for row in rows if row.role == "database"}) if frozenset(pair) not in found]
        for pair in _same_scenes(images, candidates):
            found.setdefault(frozenset((pair.first, pair.second)), pair)
    order = (EXACT, NEAR, SCENE)
    return sorted(found.values(), key=lambda pair: (order.index(pair.kind), -pair.strength, pair.first, pair.second))


def _exact(rows: Iterable[CatalogueRow]) -> Iterator[Pair]:
    first: dict[str, str] = {}
    for row in rows:
        if row.sha256 in first:
            yield Pair(EXACT, first[row.sha256], row.image_id, 1.0)
        first.setdefault(row.sha256, row.image_id)


def _neighbours(dataset: str, present: set[str]) -> list[tuple[str, str]]:
    """The nearest NEIGHBOURS of every database image that is present, by the descriptors of the first benchmark that has some, each pair once."""
    for name, benchmark in load_benchmarks().items():
        folder = places.descriptors(name)
        if benchmark.dataset == dataset and folder.exists():
            facts = DescriptorFacts.of(load_manifest(folder, DESCRIPTORS))
            if facts.patches.database is None:
                return _nearest(folder, present)
    return []


def _nearest(folder: Path, present: set[str]) -> list[tuple[str, str]]:
    names: list[str] = []
    blocks: list[npt.NDArray[np.float32]] = []
    for ids, rows in read_folder(folder, "database-"):
        names += ids
        blocks.append(rows)
    if gone_or_new := set(names) ^ present:
        log.warning("%s: %d photographs came or went since; they are not compared as scenes until `retrieval repro`.", folder, len(gone_or_new))
    kept = [place for place, name in enumerate(names) if name in present]
    names, vectors = [names[place] for place in kept], np.concatenate(blocks)[kept]
    if len(names) < 2:
        return []
    _, found = build_index(vectors).search(vectors, min(NEIGHBOURS + 1, len(names)))
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for name, own in zip(names, found, strict=True):
        for other in (names[place] for place in own if names[place] != name):
            pairs.setdefault(frozenset((name, other)), (name, other))
    return list(pairs.values())


def _same_scenes(images: Path, candidates: list[tuple[str, str]]) -> Iterator[Pair]:
    parameters = SpatialVerificationParameters(transformation="homography", inliers=INLIERS)
    features = Sift(parameters.key_points, parameters.ratio)
    seen = _all_key_points(features, images, {name for pair in candidates for name in pair})
    with Progress("same scenes", len(candidates), "pairs") as progress:
        for first, second in candidates:
            agreed = verify(features, seen[first], seen[second], parameters).inliers
            if agreed:
                yield Pair(SCENE, first, second, float(agreed))
            progress.advance()


def _all_key_points(features: Sift, images: Path, wanted: set[str]) -> dict[str, KeyPoints]:
    found: dict[str, KeyPoints] = {}
    with Progress("key points", len(wanted), "images") as progress:
        for path in load_manifest(images, IMAGES).paths(images) if wanted else ():
            for stored in read_images(path, wanted):
                found[stored.image_id] = features.key_points(decode(stored.bytes))
                progress.advance()
    return found
