"""Downloads over HTTP: resumed by range, retried with back-off, verified, renamed only when whole."""

import logging
import time
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.settings import settings
from pipeline.downloads.remote_file import RemoteFile
from pipeline.stage.checksums import verify_checksum
from pipeline.stage.errors import SourceError, UnreachableError

log = logging.getLogger(__name__)
TIMEOUT, CONNECT_TIMEOUT = 30.0, 15.0
"""Seconds without an answer, and until a connection stands."""


def download(file: RemoteFile, target: Path) -> None:
    """Fetch a file to `target`; an unfinished one stays next to it as `.part` and is continued.

    Raises:
        UnreachableError: still failing after the retries.
        SourceError: refused by the server, or not what was published.
    """
    if target.exists():
        return
    import httpx

    partial = target.with_name(target.name + ".part")
    attempts = settings().retries + 1
    for attempt in range(1, attempts + 1):
        try:
            _transfer(file, partial)
            break
        except (httpx.TransportError, _ServerBusyError) as error:
            if attempt == attempts:
                raise UnreachableError(
                    f"{file.url}: not downloaded after {attempts} attempts ({_reason(error)}); run again to go on where it stopped"
                ) from None
            delay = settings().retry_delay * 2 ** (attempt - 1)
            log.info("%s: %s; attempt %d of %d in %.1f s.", file.name, _reason(error), attempt + 1, attempts, delay)
            time.sleep(delay)
    _verify(file, partial)
    partial.rename(target)


class _ServerBusyError(Exception):
    pass


def address(url: str) -> str:
    """The address to ask: the published one, or its copy under RETRIEVAL_MIRROR."""
    mirror = settings().mirror
    if not mirror:
        return url
    parts = urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _transfer(file: RemoteFile, partial: Path) -> None:
    import httpx

    timeout = httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
    tag = partial.with_name(partial.name + ".etag")
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.exists():
            headers["If-Range"] = tag.read_text(encoding="utf-8")
    with httpx.stream("GET", address(file.url), headers=headers, follow_redirects=True, timeout=timeout) as response:
        if response.status_code == 416:  # nothing beyond what is here: whole already, or another file
            if response.headers.get("Content-Range") != f"bytes */{have}":
                partial.unlink()
                raise _ServerBusyError("the server refuses to go on with the unfinished file; starting over")
            return
        if response.status_code == 429 or response.status_code >= 500:
            raise _ServerBusyError(f"the server answers {response.status_code}")
        if response.status_code not in (200, 206):
            raise SourceError(f"{file.url}: the server answers {response.status_code}; is the address still right?")
        if response.headers.get("ETag", "").startswith('"'):
            tag.write_text(response.headers["ETag"], encoding="utf-8")
        resumed = response.status_code == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else file.bytes or 0
        with partial.open("ab" if resumed else "wb") as stream, Progress(f"download {file.name}", total, "bytes") as progress:
            progress.advance(have, skipped=True)
            for block in response.iter_raw():
                stream.write(block)
                progress.advance(len(block))
    tag.unlink(missing_ok=True)
    if length and partial.stat().st_size < total:
        raise _ServerBusyError(f"the connection ended at {partial.stat().st_size} of {total} bytes")


def _verify(file: RemoteFile, partial: Path) -> None:
    size = partial.stat().st_size
    if file.bytes is not None and size != file.bytes:
        partial.unlink()
        raise SourceError(f"{file.url}: {size} bytes came, {file.bytes} are published; the file was removed")
    if file.checksum:
        try:
            verify_checksum(partial, file.checksum, file.url)
        except SourceError:
            partial.unlink()
            raise
