"""Templates of pages: text from data is escaped, an unknown name is an error, and bytes of a JPEG become a `data:` address."""

import base64
from functools import cache
from pathlib import Path

import jinja2


@cache
def templates(*folders: Path) -> jinja2.Environment:
    """The templates of these folders, looked for in this order."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["address"] = data_address
    return environment


def data_address(jpeg: bytes) -> str:
    """A JPEG as an address that a page carries in itself."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
