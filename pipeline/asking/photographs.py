"""The photographs that a command line names: files, folders, standard input, and addresses where these are allowed."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pipeline.acquisition.scanning import scan
from pipeline.search.photo import Encoded, Fetched, Photo
from pipeline.stage.errors import ImageError, ParameterError

STANDARD_INPUT = "-"
LARGEST_BYTES = 2**28
TIMEOUT = 30.0


def named_photographs(names: Sequence[str], *, addresses: bool) -> list[str]:
    """Files, addresses and STANDARD_INPUT; a folder gives all the images in it, in the order of their paths.

    Raises:
        ParameterError: nothing of that name, a folder without images, or an address that is not allowed.
    """
    found: list[str] = []
    for name in names:
        if name.startswith(("http://", "https://")):
            if not addresses:
                raise ParameterError(f"{name}: addresses are fetched only with --url")
            found.append(name)
        elif name == STANDARD_INPUT or Path(name).is_file():
            found.append(name)
        elif Path(name).is_dir():
            inside = scan(Path(name)).files
            if not inside:
                raise ParameterError(f"{name}: no images in it")
            found += [str(Path(name, path)) for path in inside]
        else:
            raise ParameterError(f"{name}: no such file or folder")
    if found.count(STANDARD_INPUT) > 1:
        raise ParameterError("standard input (-) holds one photograph, and is named more than once")
    return found


def opened(names: Sequence[str]) -> Iterator[Photo]:
    """Photographs that a collection can be asked with; files and addresses are read when their turn comes."""
    for name in names:
        if name == STANDARD_INPUT:
            yield Encoded("standard input", sys.stdin.buffer.read(LARGEST_BYTES))
        elif name.startswith(("http://", "https://")):
            yield Fetched(name, partial(fetched, name))
        else:
            yield Path(name)


def fetched(address: str) -> bytes:
    """What an address gives, of at most LARGEST_BYTES.

    Raises:
        ImageError: the server cannot be reached, refuses, or sends too much.
    """
    import httpx

    data = bytearray()
    try:
        with httpx.stream("GET", address, follow_redirects=True, timeout=TIMEOUT) as response:
            if response.status_code != 200:
                raise ImageError(f"{address}: the server answers {response.status_code}")
            for block in response.iter_bytes():
                data += block
                if len(data) > LARGEST_BYTES:
                    raise ImageError(f"{address}: more than {LARGEST_BYTES // 2**20} MiB")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ImageError(f"{address}: {type(error).__name__}: {error}") from None
    return bytes(data)
