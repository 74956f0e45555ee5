"""Questions that come at the same time are answered together: decoded on several threads, searched in one batch on one."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.contracts.images.image_shards import StoredImage
from pipeline.contracts.running.settings import settings
from pipeline.imaging.images import open_image
from pipeline.search.photo import Encoded
from pipeline.search.reply import Reply
from pipeline.serving.counters import Counters
from pipeline.serving.limits import Limits
from pipeline.serving.published import Served
from pipeline.serving.refusals import RefusedError
from pipeline.stage.errors import ImageError

BUSY_SECONDS = 2
LARGEST_PROBE = 1024
"""Pixels of a side of the picture that a version is asked with before others ask it."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted of an answer.

    Attributes:
        box: around the object, in pixels of the upright photograph: x0, y0, x1, y1.
        top: results.
        refine: with the re-ranking of the collection's parameters.
    """

    box: Sequence[float] | None
    top: int
    refine: bool


@dataclass(frozen=True, eq=False)
class _Question:
    served: Served
    wanted: Wanted
    prepared: StoredImage
    answer: "asyncio.Future[Reply]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Answering:
    """The queue of questions; `run` works on it until it is cancelled."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self._limits, self._counters, self._asked = limits, counters, 0
        self._queue: asyncio.Queue[_Question] = asyncio.Queue()
        self._decoders = ThreadPoolExecutor(settings().threads, "decode")
        self._searcher = ThreadPoolExecutor(1, "search")

    async def ask(self, served: Served, photograph: Encoded, wanted: Wanted) -> Reply:
        """The answer to one photograph.

        Raises:
            RefusedError: too many questions wait, or the answer takes too long.
            ImageError: the photograph cannot be read, or the box lies outside.
        """
        if self._asked >= self._limits.waiting:
            raise RefusedError(503, "too many questions at a time", BUSY_SECONDS)
        self._asked += 1
        self._counters.waiting.set(self._asked)
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                prepared = await asyncio.get_running_loop().run_in_executor(self._decoders, self._prepared, served, photograph, wanted)
                question = _Question(served, wanted, prepared)
                self._queue.put_nowait(question)
                return await question.answer
        except TimeoutError:
            raise RefusedError(503, f"no answer within {self._limits.answer_seconds:.0f} s", BUSY_SECONDS) from None
        finally:
            self._asked -= 1
            self._counters.waiting.set(self._asked)

    def _prepared(self, served: Served, photograph: Encoded, wanted: Wanted) -> StoredImage:
        try:
            open_image(photograph.data, self._limits.pixels)
        except ImageError as error:
            raise ImageError(f"{photograph.name}: {error}") from None
        return served.collection.prepare(photograph, wanted.box)

    async def load(self, served: Served) -> None:
        """Ask a version once, so that its first question finds everything loaded.

        Nothing is searched meanwhile: a network is loaded with torch.fx, whose tracing changes how modules are called in every thread.
        """
        resize = served.collection.facts.described.features.images.resize
        side = max(64, resize.get("minimum_side", 0), min(resize.get("pixels", 0), LARGEST_PROBE))  # smaller ones may be refused
        await asyncio.get_running_loop().run_in_executor(self._searcher, served.collection.ask, np.full((side, side, 3), 127, np.uint8))

    async def run(self) -> None:
        """Answer questions in their order; those of the same version that wait already go together."""
        while True:
            some = [await self._queue.get()]
            while len(some) < self._limits.at_once and not self._queue.empty():
                some.append(self._queue.get_nowait())
            while some := [question for question in some if not question.answer.done()]:  # its asker may have gone
                together = [each for each in some if each.served is some[0].served and each.wanted.refine == some[0].wanted.refine]
                await self._answer(together)
                some = [question for question in some if question not in together]

    async def _answer(self, together: list[_Question]) -> None:
        self._counters.batches.observe(len(together))
        loop = asyncio.get_running_loop()
        try:
            replies = await loop.run_in_executor(self._searcher, _replies, together)
        except Exception as error:
            for question in together:
                if not question.answer.done():
                    question.answer.set_exception(error)
            return
        for question, reply in zip(together, replies, strict=True):
            if not question.answer.done():
                question.answer.set_result(reply)

    def close(self) -> None:
        """Let the threads end."""
        for pool in (self._decoders, self._searcher):
            pool.shutdown(wait=False, cancel_futures=True)


def _replies(together: list[_Question]) -> list[Reply]:
    """Runs in the thread that searches."""
    top = max(question.wanted.top for question in together)
    collection = together[0].served.collection
    replies = collection.answer([question.prepared for question in together], top, refine=together[0].wanted.refine, pictures=False)
    return [replace(reply, results=reply.results[: question.wanted.top]) for reply, question in zip(replies, together, strict=True)]
