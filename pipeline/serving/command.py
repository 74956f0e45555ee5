"""The command `retrieval serve`: which collections, on which address, for whom."""

import errno
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from pipeline.asking.finding import every_collection, known_collections, named_collection, no_such_collection
from pipeline.contracts.collections import POINTER, is_version
from pipeline.contracts.running.held_folder import held_folder
from pipeline.contracts.running.settings import settings
from pipeline.serving.guards import LOOPBACK, Guard
from pipeline.serving.limits import Limits
from pipeline.stage import places
from pipeline.stage.errors import ParameterError

if TYPE_CHECKING:
    import uvicorn

SHORTEST_TOKEN = 16
SECONDS_TO_END = 10
WAITING_CONNECTIONS = 2048


def serve(names: list[str], host: str, port: int, token: str) -> None:
    """Answer on an address until the process is told to end.

    Args:
        names: of collections under data/collection, or folders; all collections where none are named.
        token: that every request needs; needed for any address but loopback.

    Raises:
        ParameterError: no such collection, an address without a token, or an address that is taken.
    """
    loopback = _is_loopback(host)
    if not loopback and not token:
        raise ParameterError(
            f"--host {host}: other machines can reach it; set RETRIEVAL_TOKEN to {SHORTEST_TOKEN} characters or more, which they must send"
        )
    if token and len(token) < SHORTEST_TOKEN:
        raise ParameterError(f"RETRIEVAL_TOKEN: {len(token)} characters can be guessed; take {SHORTEST_TOKEN} or more")
    folders, listening, limits = _folders(names), _bound(host, port), Limits()
    find = (lambda: folders) if names else known_collections
    import uvicorn  # and torch with the next, which takes seconds

    from pipeline.contracts.running.device import prepare_processor
    from pipeline.serving.application import application
    from pipeline.serving.published import Published

    hosts = (*LOOPBACK, host) if loopback else ()
    prepare_processor()  # before there are threads, which have memory of their own otherwise
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("faiss").setLevel(logging.WARNING)
    _allow_many_connections()
    logging.getLogger(__name__).info("http://%s:%d", f"[{host}]" if ":" in host else host, listening.getsockname()[1])
    signal.signal(signal.SIGTERM, _end)  # uvicorn sends the signal again after its own end
    with _home() as home:
        guarded = Guard(application(Published(find, places.IMAGES, limits, home), limits), hosts, token)
        uvicorn.Server(_configuration(guarded)).run(sockets=[listening])


def _end(_number: int, _frame: FrameType | None) -> None:
    """An end that leaves nothing behind."""
    raise SystemExit(0)


def _configuration(guarded: Guard) -> "uvicorn.Config":
    import uvicorn

    return uvicorn.Config(
        guarded,
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SECONDS_TO_END,
        timeout_keep_alive=15,
    )


@contextmanager
def _home() -> Iterator[Path | None]:
    """A folder for what is served; none where it cannot be written, or lies on another disk than the collections, so that nothing can be linked."""
    parent = settings().scratch / "serving"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        linked = places.COLLECTIONS.is_dir() and parent.stat().st_dev == places.COLLECTIONS.stat().st_dev and os.access(parent, os.W_OK)
    except OSError:
        linked = False
    if not linked:
        yield None
        return
    with held_folder(parent) as home:
        yield home


def _folders(names: list[str]) -> dict[str, Path]:
    """The folder of each collection by the name that it is asked under; all collections where none are named."""
    if not names:
        return every_collection()
    found: dict[str, Path] = {}
    for name in names:
        folder = named_collection(name)
        if not (folder / POINTER).exists() and not is_version(folder):
            raise no_such_collection(name)
        own = folder.name if folder.parent == places.COLLECTIONS else folder.resolve().name
        if own in found:
            raise ParameterError(f"{name}: another collection is named {own} already; rename one of the folders")
        found[own] = folder
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sends small answers at once only where it reads TCP here
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(WAITING_CONNECTIONS)
    except OSError as error:
        listening.close()
        advice = "choose another --port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host has to be an address of this machine"
        raise ParameterError(f"{host}:{port}: {error.strerror}; {advice}") from None
    return listening


def _allow_many_connections() -> None:
    """As many as the system lets a process have (POSIX)."""
    if os.name == "posix":
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
