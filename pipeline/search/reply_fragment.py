"""A reply as a fragment of HTML for a notebook, which has no style sheet of the project's."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.look.templates import templates

if TYPE_CHECKING:
    from pipeline.search.reply import Reply


def fragment(reply: "Reply") -> str:
    """One reply; all text is escaped."""
    return templates(Path(__file__).parent).get_template("reply.html.j2").render(reply=reply)
