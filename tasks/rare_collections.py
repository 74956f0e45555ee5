"""Fewer searches for garbage in processes that import and parse a lot: nearly all they make stays until their end."""

import gc


def collect_rarely() -> None:
    """Look for garbage after 100,000 new objects instead of 700. Imports of Prefect's server take a quarter less processor time."""
    gc.set_threshold(100_000, 20, 20)
