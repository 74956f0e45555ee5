"""A real HTTP server on loopback that serves bytes with ranges, and misbehaves on request."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

POLL = 0.01
"""Seconds between two looks at whether the server shall end; half a second unless told, which every test would wait."""


class LoopbackServer:
    """Serves `files` by path.

    Attributes:
        cuts: for a path, after how many bytes each of the next answers breaks off.
        statuses: for a path, status codes of the next answers.
        ranges: whether range requests are honoured.
        requests: (path, Range header) of every request.
        posted: bodies that were sent here.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cuts: dict[str, list[int]] = {}
        self.statuses: dict[str, list[int]] = {}
        self.ranges = True
        self.requests: list[tuple[str, str | None]] = []
        self.posted: list[bytes] = []

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def do_POST(self) -> None:
                outer.posted.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        if self.statuses.get(handler.path):
            handler.send_error(self.statuses[handler.path].pop(0))
            return
        if handler.path not in self.files:
            handler.send_error(404)
            return
        content = self.files[handler.path]
        tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if handler.headers.get("If-Range", tag) != tag:
            start = 0
        if start >= len(content) > 0:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.send_header("ETag", tag)
        handler.end_headers()
        cuts = self.cuts.get(handler.path)
        body = content[start : start + cuts.pop(0)] if cuts else content[start:]
        handler.wfile.write(body)
