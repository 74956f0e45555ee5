"""Replies as HTML: a fragment for a notebook, and one page that works from disk; all text is escaped."""

import base64
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import jinja2

from pipeline.search.reply import Reply

TEMPLATES = Path(__file__).parent


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["address"] = _address
    return environment


def _address(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def fragment(reply: Reply) -> str:
    """One reply."""
    return _environment().get_template("reply.html.j2").render(reply=reply)


def page(replies: Iterable[Reply], title: str) -> str:
    """A page of replies."""
    return _environment().get_template("reply_page.html.j2").render(title=title, replies=list(replies))
