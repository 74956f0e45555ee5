"""Uploaded forms: what is read, and what is too large, too slow, too much at a time, or no form."""

import asyncio
from typing import Any

import pytest
from fastapi import Request

from pipeline.serving.forms import box_of, flag_of, number_of
from pipeline.serving.limits import Limits
from pipeline.serving.refusals import RefusedError
from pipeline.serving.uploads import FIELD_BYTES, Form, Uploads

BOUNDARY = "limit"
SMALL = Limits(upload_bytes=1000, uploads_bytes=40_000, upload_seconds=0.2)


def part(name: str, content: bytes, file: str = "") -> bytes:
    told = f'; filename="{file}"' if file else ""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{told}\r\n\r\n'.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def request(blocks: list[bytes], pause: float = 0.0, **headers: str) -> Request:
    """A request whose body comes in blocks, after a pause each."""
    waiting = iter(blocks)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        block = next(waiting, None)
        return {"type": "http.request", "body": block or b"", "more_body": block is not None}

    own = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(name.encode(), value.encode()) for name, value in own.items()]}
    return Request(scope, receive)


def read(one: Request, uploads: Uploads | None = None) -> Form:
    return asyncio.run(form_of(one, uploads or Uploads(SMALL)))


async def form_of(one: Request, uploads: Uploads, answering: float = 0.0) -> Form:
    async with uploads.read(one) as form:
        await asyncio.sleep(answering)
        return form


def test_a_form_is_read_in_whatever_blocks_it_comes() -> None:
    whole = part("box", b"1,2,3,4") + part("photograph", bytes(range(256)), "../a.jpg") + END
    for size in (1, 7, len(whole)):
        form = read(request([whole[start : start + size] for start in range(0, len(whole), size)]))
        assert form.fields == {"box": "1,2,3,4"}
        assert (form.name, form.photograph) == ("../a.jpg", bytes(range(256)))
    assert read(request([part("image_id", "ä/ß".encode()) + END])) == Form({"image_id": "ä/ß"}, "", None)


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (request([], content_type="text/plain"), 415, "send a form"),
        (request([], content_type="multipart/form-data"), 400, "not a form"),
        (request([b"--other\r\nnothing"]), 400, "not a form"),
        (request([part("photograph", b"1", "a") + part("photograph", b"2", "b") + END]), 400, "Too many files"),
        (request([part(f"field{number}", b"1") for number in range(20)] + [END]), 400, "Too many fields"),
        (request([], content_length=str(2 * 2**30)), 413, "at most 0 MiB"),
        (request([part("photograph", b"", "a"), *[b"x" * 1000] * 30]), 413, "at most 0 MiB"),
        (request([part("photograph", b"", "a"), *[b"x"] * 50], pause=0.02), 408, "more than 0 s"),
    ],
)
def test_what_is_no_form_too_large_or_too_slow_is_refused(sent: Request, status: int, reason: str) -> None:
    uploads = Uploads(SMALL)
    with pytest.raises(RefusedError, match=reason) as refused:
        read(sent, uploads)
    assert refused.value.status == status
    assert uploads._held == 0


def test_many_uploads_at_a_time_are_held_up_to_a_limit() -> None:
    block = b"x" * FIELD_BYTES

    async def at_once() -> list[Any]:
        uploads = Uploads(Limits(upload_bytes=100_000, uploads_bytes=3 * FIELD_BYTES, upload_seconds=5))
        sent = [request([part("photograph", b"", "a")[:-2] + block, b"\r\n" + END], pause=0.05) for _ in range(6)]
        return await asyncio.gather(*(form_of(each, uploads) for each in sent), return_exceptions=True)

    results = asyncio.run(at_once())
    assert {type(result) for result in results} == {Form, RefusedError}
    assert {(each.status, each.retry_after) for each in results if isinstance(each, RefusedError)} == {(503, 2)}


def test_an_upload_counts_until_it_is_answered() -> None:
    async def one_after_the_other() -> tuple[Form, int]:
        uploads = Uploads(Limits(upload_bytes=100_000, uploads_bytes=3 * FIELD_BYTES, upload_seconds=5))
        body = [part("photograph", b"x" * 2 * FIELD_BYTES, "a") + END]
        answered = asyncio.create_task(form_of(request(body), uploads, answering=0.2))
        await asyncio.sleep(0.1)
        with pytest.raises(RefusedError, match="too many uploads at a time"):
            await form_of(request(body), uploads)
        await answered
        return await form_of(request(body), uploads), uploads._held

    form, held = asyncio.run(one_after_the_other())
    assert (len(form.photograph or b""), held) == (2 * FIELD_BYTES, 0)


def test_fields_are_what_is_allowed_or_refused() -> None:
    assert box_of({}) is None
    assert box_of({"box": "0,1.5,20,3e1"}) == [0, 1.5, 20, 30]
    for text in ("1,2,3", "1,2,3,x", "nan,0,1,1", "inf,0,1,1", "1,2,3,4,5"):
        with pytest.raises(RefusedError, match="four numbers"):
            box_of({"box": text})
    assert number_of({}, "top", 10, 200) == 10
    assert number_of({"top": "200"}, "top", 10, 200) == 200
    for text in ("0", "201", "-1", "1.0", "²", "", "9" * 5000):
        with pytest.raises(RefusedError, match="from 1 to 200"):
            number_of({"top": text}, "top", 10, 200)
    assert flag_of({"rerank": "false"}, "rerank", default=True) is False
    with pytest.raises(RefusedError, match="true or false"):
        flag_of({"rerank": "no"}, "rerank", default=True)
