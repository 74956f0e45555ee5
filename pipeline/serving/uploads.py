"""Uploaded forms: read with limits on bytes and time, whatever the sender claims."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from pipeline.serving.limits import Limits
from pipeline.serving.refusals import RefusedError

FIELD_BYTES = 16 * 2**10
"""Of a field that is no photograph, and what the form's own lines may take."""
FIELDS = 8
BUSY_SECONDS = 2


@dataclass(frozen=True)
class Form:
    """A form: its fields as texts, and the photograph's name and bytes."""

    fields: dict[str, str]
    name: str
    photograph: bytes | None


class Uploads:
    """Every upload of the service; together they hold at most `limits.uploads_bytes`."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self._held = limits, 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[Form]:
        """The form that a request sends; its bytes count until the block ends.

        Raises:
            RefusedError: too large, too slow, no form, or too many uploads at a time.
        """
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise RefusedError(415, "send a form (multipart/form-data) with the field `photograph`")
        received = 0

        def count(more: int) -> None:
            nonlocal received
            received += more
            self._held += more
            self._refuse_larger(received)
            if self._held > self.limits.uploads_bytes:
                raise RefusedError(503, "too many uploads at a time", BUSY_SECONDS)

        announced = request.headers.get("content-length", "0")
        self._refuse_larger(int(announced) if announced.isdecimal() else 0)
        try:
            yield await self._in_time(request, count)
        finally:
            self._held -= received

    async def _in_time(self, request: Request, count: Callable[[int], None]) -> Form:
        try:
            async with asyncio.timeout(self.limits.upload_seconds):
                return await _parsed(request, _counted(request, count))
        except TimeoutError:
            raise RefusedError(408, f"the upload took more than {self.limits.upload_seconds:.0f} s") from None

    def _refuse_larger(self, received: int) -> None:
        if received > self.limits.upload_bytes + FIELD_BYTES:
            raise RefusedError(413, f"a photograph has at most {self.limits.upload_bytes // 2**20} MiB here")


async def _counted(request: Request, count: Callable[[int], None]) -> AsyncIterator[bytes]:
    async for block in request.stream():
        count(len(block))
        yield block


async def _parsed(request: Request, blocks: AsyncIterator[bytes]) -> Form:
    parser = MultiPartParser(request.headers, blocks, max_files=1, max_fields=FIELDS, max_part_size=FIELD_BYTES)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise RefusedError(400, f"not a form that can be read: {error}") from None
    try:
        fields = {key: value for key, value in form.items() if isinstance(value, str)}
        upload = form.get("photograph")
        if not isinstance(upload, UploadFile):
            return Form(fields, "", None)
        return Form(fields, upload.filename or "photograph", await upload.read())
    finally:
        await form.close()
