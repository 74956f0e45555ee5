"""The look that all pages of the project share, as one text to be put into a page or served with it."""

from pathlib import Path

FILE = Path(__file__).with_name("common.css")


def stylesheet() -> str:
    """Colours for light and dark, text, tables, buttons, notices and the viewer of photographs, as CSS."""
    return FILE.read_text(encoding="utf-8")
