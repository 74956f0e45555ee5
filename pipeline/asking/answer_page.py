"""Answers as one page that works from disk, in the look of all pages; all text is escaped."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.look.stylesheet import stylesheet
from pipeline.look.templates import templates
from pipeline.search.reply import Reply


def page(replies: Sequence[Reply], title: str) -> str:
    """The page: for each photograph the verdict, the photograph, and what was found."""
    template = templates(Path(__file__).parent).get_template("answer_page.html.j2")
    return template.render(title=title, replies=replies, style=stylesheet())
