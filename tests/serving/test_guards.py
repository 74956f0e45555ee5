"""Who may speak to the service: hosts, origins, tokens; and what every answer tells browsers."""

import asyncio
import base64

import httpx
import pytest
from starlette.responses import PlainTextResponse

from pipeline.serving.guards import Guard

TOKEN = "a token of the tests"


def asked(hosts: tuple[str, ...], token: str, headers: dict[str, str], path: str = "/") -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(PlainTextResponse("inside"), hosts, token))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8090") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(answer())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "127.0.0.1:9"}, 200),
        ({"host": "[::1]:9"}, 200),
        ({"host": "museum.example"}, 421),
        ({"host": "localhost.museum.example"}, 421),
        ({"host": "[::1"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://localhost:8090"}, 200),
        ({"origin": "http://localhost:8091"}, 403),
        ({"origin": "https://museum.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[x"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_hosts_and_origins(headers: dict[str, str], status: int) -> None:
    reply = asked(("localhost", "127.0.0.1", "::1"), "", headers)
    assert reply.status_code == status
    assert reply.text == "inside" or reply.json()["error"]
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        ("Basic " + base64.b64encode(f"anyone:{TOKEN}".encode()).decode(), 200),
        ("Basic " + base64.b64encode(b"anyone:wrong").decode(), 401),
        ("Basic %%%", 401),
        ("Bearer", 401),
        (f"Bearer {TOKEN}s", 401),
        (f"Token {TOKEN}", 401),
        ("", 401),
    ],
)
def test_tokens(authorization: str, status: int) -> None:
    reply = asked((), TOKEN, {"authorization": authorization, "host": "museum.example"})
    assert reply.status_code == status
    assert ("www-authenticate" in reply.headers) == (status == 401)


def test_health_needs_no_token() -> None:
    assert asked((), TOKEN, {}, "/healthz").text == "inside"
