"""Who may speak to the service: hosts, origins and the token, checked before anything else is read; and what browsers are told in return."""

import base64
import binascii
import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = ("/healthz",)
"""What needs no token: it says nothing but that the service lives."""
HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self' blob: data:; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """An ASGI application around another.

    Args:
        hosts: names that requests may be sent to; any where none are given. They keep a page of another origin from reaching a service on
            loopback under a name of its own.
        token: that requests need, as a bearer token or as the password of any user; none where it is empty.
    """

    def __init__(self, application: ASGIApp, hosts: Iterable[str], token: str) -> None:
        self._application, self._hosts, self._token = application, frozenset(hosts), token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope["method"], scope["path"])
        await (refusal or self._application)(scope, receive, send_guarded)

    def _refusal(self, headers: Headers, method: str, path: str) -> JSONResponse | None:
        host = headers.get("host", "")
        if self._hosts and _hostname(host) not in self._hosts:
            return _refused(421, f"this service is not {host or 'without a name'}; it answers to {', '.join(sorted(self._hosts))}")
        if _of_another_origin(headers, host) and not (method == "GET" and _followed_link(headers)):
            return _refused(403, "pages of other origins may not ask this service")
        if self._token and path not in OPEN_PATHS and not hmac.compare_digest(_credential(headers.get("authorization", "")), self._token):
            return _refused(401, "send the token, as `Authorization: Bearer TOKEN` or as the password of any user", {"www-authenticate": "Basic"})
        return None


def _of_another_origin(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    try:
        return (origin is not None and urlsplit(origin).netloc != host) or headers.get("sec-fetch-site") == "cross-site"
    except ValueError:
        return True


def _followed_link(headers: Headers) -> bool:
    """Whether somebody opens the address in a tab of its own, from which the page that links to it reads nothing."""
    return "origin" not in headers and (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _credential(authorization: str) -> bytes:
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip().encode()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def _refused(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": reason}, status, headers)
