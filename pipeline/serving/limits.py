"""What the service accepts at most, so that no request takes the memory or the time of the others."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one service.

    Attributes:
        upload_bytes: of a photograph.
        uploads_bytes: of all uploads that are held in memory at a time.
        pixels: of a photograph, looked up in its header before it is decoded.
        upload_seconds: from the first byte of an upload to the last.
        answer_seconds: from the upload's end to the answer.
        waiting: questions that are not answered yet; one more is refused.
        at_once: questions that are searched together.
        results: of one answer.
        refresh_seconds: between two looks for a new version of a collection.
    """

    upload_bytes: int = 32 * 2**20
    uploads_bytes: int = 512 * 2**20
    pixels: int = 60_000_000
    upload_seconds: float = 60.0
    answer_seconds: float = 30.0
    waiting: int = 64
    at_once: int = 16
    results: int = 200
    refresh_seconds: float = 1.0
