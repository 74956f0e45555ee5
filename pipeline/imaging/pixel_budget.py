"""How many pixels threads may hold decoded at once, so that a few huge pictures do not take all memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from pipeline.contracts.running.settings import settings


class PixelBudget:
    """A number of pixels that threads share; a picture larger than all of it waits until it is alone."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until so many are free, and take them for the block."""
        taken = min(pixels, self.pixels)
        with self._changed:
            self._changed.wait_for(lambda: self._held + taken <= self.pixels)
            self._held += taken
        try:
            yield
        finally:
            with self._changed:
                self._held -= taken
                self._changed.notify_all()


@cache
def shared_budget() -> PixelBudget:
    """That of this process: RETRIEVAL_PIXELS_AT_ONCE."""
    return PixelBudget(settings().pixels_at_once)
