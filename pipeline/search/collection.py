"""A collection that answers: which of its images show what a photograph shows.

from pipeline.search.collection import Collection

reply = Collection.open("data/collection/gallery").ask("photo.jpg")
"""

import itertools
import json
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image
from pydantic import ValidationError

from pipeline.contracts.collection_rows import product_codes
from pipeline.contracts.collections import (
    CALIBRATION,
    CATALOGUE,
    FEATURES,
    IMAGES,
    LOCAL_FEATURES,
    MODEL,
    NETWORK,
    THUMBNAILS,
    Version,
    hold_version,
    open_version,
)
from pipeline.contracts.images.image_shards import StoredImage
from pipeline.contracts.results import Counts, Results
from pipeline.contracts.running.device import choose_device, prepare_processor
from pipeline.contracts.running.settings import settings
from pipeline.imaging.images import decode
from pipeline.search.answers import UnknownObjects, answers_of
from pipeline.search.certainty import Certainty
from pipeline.search.database import Database
from pipeline.search.description import PhotographDescriber, Question
from pipeline.search.params import SearchParameters
from pipeline.search.patch_boxes import PatchBoxes
from pipeline.search.photo import Photo, named_bytes
from pipeline.search.reply import Found, Reply
from pipeline.search.thumbnails import Thumbnails, thumbnail
from pipeline.stage.catalogue import Box
from pipeline.stage.checksums import verify_all
from pipeline.stage.errors import ImageError, ShardError
from pipeline.stage.tables import read_table

Broken = Callable[[Photo, ImageError], None]
"""What is done with a photograph that cannot be read."""
AT_ONCE = 16
"""Photographs that are searched together."""
NOT_AN_ID = "\0asked "
"""What the id of a photograph that asks starts with; no image has such an id."""


class Collection:
    """Opened by `Collection.open`; may be asked from several threads one after the other.

    Attributes:
        facts: what it holds and how it was made.
    """

    def __init__(self, version: Version, device: torch.device) -> None:
        weakref.finalize(self, hold_version(version.folder).close)  # nobody removes it before
        verify_all(version.folder)
        self.version, self.facts, self.device = version, version.facts, device
        self.parameters = _search_parameters(version)
        catalogue = read_table(version.folder / CATALOGUE, "catalogue")
        self._images: pa.Table = catalogue.select(["image_id", "instance", "path"])
        self._thumbnails = Thumbnails(version.folder / THUMBNAILS)
        self._database = Database(version.folder, self.facts.index, self._images.column("image_id"), self.parameters, device, product_codes(version))
        if (extract := self.facts.described.features.extract).patch_levels:
            ids, *sides = (catalogue.column(name).to_pylist() for name in ("image_id", "width", "height"))
            self._database.boxes = PatchBoxes(extract, dict(zip(ids, zip(*sides, strict=True), strict=True)))
        self._describer = PhotographDescriber(version.folder, self.facts, device)
        learned = json.loads((version.folder / CALIBRATION).read_text(encoding="utf-8"))
        self._unknown = UnknownObjects(np.array(learned["unknown"], np.float64), learned["share"])
        self._certainty = Certainty(**learned["certainty"]) if learned["certainty"] else None
        self._numbers = itertools.count()

    @classmethod
    def open(cls, folder: str | Path, device: str | None = None) -> Self:
        """A collection of data/collection, or a copy of one anywhere.

        Args:
            device: cpu, cuda or cuda:N; RETRIEVAL_DEVICE where none is named.

        Raises:
            ShardError: there is none, or it is not what was written.
        """
        folder, chosen = Path(folder), choose_device(device)
        prepare_processor()
        return open_version(folder, lambda version: cls(version, chosen))

    def __len__(self) -> int:
        return len(self._database) - len(self._database.removed)

    def __repr__(self) -> str:
        return f"<collection {self.facts.benchmark}: {len(self)} images, {self.facts.described.method}, {self.facts.index.kind} index>"

    def ask(self, photo: Photo, box: Sequence[float] | None = None, top: int = 10) -> Reply:
        """What a photograph shows.

        Args:
            box: around the object, in pixels of the upright photograph: x0, y0, x1, y1.
            top: results.

        Raises:
            ImageError: the photograph cannot be read, or the box lies outside.
        """
        return next(self.ask_all([photo], box, top))

    def ask_all(self, photos: Iterable[Photo], box: Sequence[float] | None = None, top: int = 10, broken: Broken | None = None) -> Iterator[Reply]:
        """Replies in the order of the photographs, which are read ahead; memory does not grow with their number.

        Args:
            broken: called for a photograph that cannot be read, which then has no reply.

        Raises:
            ImageError: as `ask`, where `broken` is not given.
        """
        edges = _edges(box)
        with ThreadPoolExecutor(settings().threads) as pool:
            for some in _batches(photos, AT_ONCE):
                prepared = pool.map(lambda photo: self._prepared_or_told(photo, edges, broken), some)
                yield from self.answer([stored for stored in prepared if stored is not None], top)

    def prepare(self, photo: Photo, box: Sequence[float] | None = None) -> StoredImage:
        """A photograph that is ready for `answer`; several threads may prepare at a time.

        Raises:
            ImageError: as `ask`.
        """
        return self._describer.prepared(*named_bytes(photo), _edges(box))

    def answer(self, prepared: Sequence[StoredImage], top: int, *, refine: bool = True, pictures: bool = True) -> Iterator[Reply]:
        """Replies to prepared photographs, which are searched together.

        Args:
            refine: with the re-ranking and query expansion of the collection's parameters; else by the first search alone, whose scores
                say nothing about unknown objects.
            pictures: with thumbnails of the results and of the photograph; else those are empty.
        """
        if not prepared:
            return
        results = self._search(self._describer.questions(prepared), max(top, self.parameters.top_k), refine=refine)
        instances = self._shown(results)
        for place, asked in enumerate(prepared):
            found = Results([results.image_ids[place]], [results.scores[place]], results.size, [results.boxes[place]] if results.boxes else None)
            reply = self._reply(asked.image_id, found, instances, top, calibrated=refine or not self.parameters.refined)
            yield self._with_pictures(reply, asked) if pictures else reply

    def describe(self, photo: Photo, box: Sequence[float] | None = None) -> npt.NDArray[Any]:
        """The row that is compared: a descriptor (D,), those of patches (P, D) float32, or a code (B,) uint8."""
        row: npt.NDArray[Any] = self._describer.questions([self.prepare(photo, box)])[0].row[0]
        return row

    def thumbnail(self, image_id: str) -> bytes:
        """A small picture of an image of the collection, as JPEG.

        Raises:
            KeyError: the collection has no such image.
        """
        if image_id in self._database.removed_ids:
            raise KeyError(image_id)
        return self._thumbnails.read([image_id])[image_id]

    @property
    def images(self) -> pa.Table:
        """Every image that can be found: image_id, instance, path."""
        removed = self._database.removed
        return self._images if not len(removed) else self._images.take(np.delete(np.arange(len(self._images)), removed))

    def _prepared_or_told(self, photo: Photo, box: Box | None, broken: Broken | None) -> StoredImage | None:
        try:
            return self.prepare(photo, box)
        except ImageError as error:
            if broken is None:
                raise
            broken(photo, error)
            return None

    def _search(self, questions: list[Question], k: int, *, refine: bool) -> Results:
        rows = np.concatenate([question.row for question in questions])
        if not (refine and self.parameters.refined):
            return self._database.top(rows, k)
        from pipeline.reranking.content import Asked

        ids = [f"{NOT_AN_ID}{next(self._numbers)}" for _ in questions]
        self._content.asked.update({name: Asked(question.stored, question.maps) for name, question in zip(ids, questions, strict=True)})
        try:
            queries = self._refinement.expanded(torch.from_numpy(rows).to(self.device))
            return self._reranked(ids, queries, self._refinement.first(queries, k), k)
        finally:
            for name in ids:
                self._content.asked.pop(name)

    def _reranked(self, ids: list[str], queries: torch.Tensor, first: Results, k: int) -> Results:
        """Questions with as many candidates together: an index may find fewer for some."""
        found: dict[int, Results] = {}
        lengths = [len(own) for own in first.image_ids]
        for length in sorted(set(lengths)):
            own = [place for place, each in enumerate(lengths) if each == length]
            results = self._refinement.reranked([ids[place] for place in own], queries[own], first.of(own), Counts.none(), k)[0]
            found.update((place, results.of([index])) for index, place in enumerate(own))
        return Results.joined([found[place] for place in range(len(ids))], first.size)

    @cached_property
    def _content(self) -> Any:
        from pipeline.reranking.content import Content

        folder, made_with = self.version.folder, self.facts.described.features
        images, features, network, model = folder / IMAGES, folder / FEATURES, folder / NETWORK, folder / MODEL
        return Content((images,), features, network, model, made_with, self.device, weights=folder / LOCAL_FEATURES)

    @cached_property
    def _refinement(self) -> Any:
        """Re-ranking is imported here, so that a plain question does without."""
        from pipeline.reranking.registry import build_reranker
        from pipeline.search.refinement import Refinement

        chosen = self.parameters.rerank.chosen
        reranker = build_reranker(chosen, self._content) if chosen else None
        return Refinement(self.parameters, reranker, lambda own, count: self._database.top(own.cpu().numpy(), count), self._database.read)

    def _shown(self, results: Results) -> dict[str, str]:
        """The instances of the images that were found, as far as they are known."""
        names = list({image_id for ids in results.image_ids for image_id in ids})
        rows = self._images.column("instance").take(pa.array([self._database.place(name) for name in names], pa.int64())).to_pylist()
        return {name: instance for name, instance in zip(names, rows, strict=True) if instance is not None}

    def _reply(self, asked: str, results: Results, instances: dict[str, str], top: int, *, calibrated: bool) -> Reply:
        answer = next(iter(answers_of([NOT_AN_ID], results, instances)), None)
        kept = results.first(top)
        ids, scores = kept.image_ids[0], kept.scores[0]
        boxes = kept.boxes[0] if kept.boxes else [None] * len(ids)
        paths = self._images.column("path").take(pa.array([self._database.place(image_id) for image_id in ids], pa.int64())).to_pylist()
        found = tuple(
            Found(rank, image_id, score, instances.get(image_id), path, box, b"")
            for rank, (image_id, score, path, box) in enumerate(zip(ids, scores, paths, boxes, strict=True), 1)
        )
        judged = answer if calibrated else None
        threshold = self._unknown.threshold
        known = None if threshold is None or judged is None else judged.score > threshold
        unknown_p = self._unknown.p_value(judged.score) if judged else None
        sure = self._certainty.sure(judged) if judged and self._certainty else None
        return Reply(asked, found, answer.instance if answer else None, known, unknown_p, sure, b"")

    def _with_pictures(self, reply: Reply, asked: StoredImage) -> Reply:
        pictures = self._thumbnails.read([found.image_id for found in reply.results])
        results = tuple(replace(found, thumbnail=pictures[found.image_id]) for found in reply.results)
        return replace(reply, results=results, asked=thumbnail(Image.fromarray(decode(asked.bytes)), self._thumbnails.side))


def _search_parameters(version: Version) -> SearchParameters:
    try:
        return SearchParameters.model_validate(version.facts.search)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ShardError(
            f"{version.folder}: made by another version of the project (search.{where}: {error.errors()[0]['msg']}); make the collection again"
        ) from None


def _edges(box: Sequence[float] | None) -> Box | None:
    if box is None:
        return None
    if len(box) != 4:
        raise ImageError(f"a box has four edges, x0 y0 x1 y1 in pixels; got {list(box)}")
    x0, y0, x1, y1 = map(float, box)
    return (x0, y0, x1, y1)


def _batches(photos: Iterable[Photo], size: int) -> Iterator[list[Photo]]:
    waiting = iter(photos)
    while some := list(itertools.islice(waiting, size)):
        yield some
