"""The look of the report, which the comparison shares: that of all pages, with frames of results and rows of pictures."""

from pathlib import Path

from pipeline.look.stylesheet import stylesheet

FILE = Path(__file__).with_name("page.css")


def style() -> str:
    """The style sheet as one text."""
    return stylesheet() + FILE.read_text(encoding="utf-8")
