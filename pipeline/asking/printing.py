"""Replies as a person or a program wants them: a table, lines of JSON, CSV, an HTML page, a picture, or pictures in the terminal."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from pipeline.search.reply import COLUMNS, Found, Reply
from pipeline.stage.tables import replacing

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

Write = Callable[[Reply], None]
SHEET_COLUMNS, SHEET_SIDE, MARGIN, LINE = 6, 240, 8, 14
SHOWN_WIDTH, SHOWN_AT_MOST = 24, 4
"""Characters of a picture in the terminal, and pictures in a row."""


def as_table(reply: Reply) -> None:
    """What it is, then the results in a table."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{reply.photograph}: {reply.verdict}", markup=False)
    console.print(_table(reply))


def _table(reply: Reply) -> "Table":
    from rich.table import Table
    from rich.text import Text

    boxes = any(found.box for found in reply.results)
    table = Table()
    for heading in ("rank", "score", "instance", "image", *(["box in %"] if boxes else [])):
        table.add_column(heading, justify="right" if heading in ("rank", "score") else "left")
    for found in reply.results:
        cells = [str(found.rank), f"{found.score:.4f}", found.instance or "", found.image_id]
        box = " ".join(f"{100 * value:.0f}" for value in found.box) if found.box else ""
        table.add_row(*(Text(cell) for cell in [*cells, *([box] if boxes else [])]))
    return table


def as_pictures(reply: Reply) -> None:
    """The photograph and its first results as coloured half blocks, then the table."""
    from rich.columns import Columns
    from rich.console import Console

    pictures = [_blocks(reply.asked), *(_blocks(found.thumbnail) for found in reply.results[:SHOWN_AT_MOST])]
    Console().print(Columns(pictures, padding=(0, 2)))
    as_table(reply)


def _blocks(jpeg: bytes) -> "Text":
    """A picture of SHOWN_WIDTH characters: each shows one pixel above another."""
    from rich.text import Text

    with Image.open(io.BytesIO(jpeg)) as opened:
        height = max(2, round(SHOWN_WIDTH * opened.height / opened.width / 2) * 2)
        pixels = opened.convert("RGB").resize((SHOWN_WIDTH, height)).tobytes()
    text = Text()
    for row in range(0, height, 2):
        for column in range(SHOWN_WIDTH):
            upper, lower = (pixels[3 * (line * SHOWN_WIDTH + column) :][:3].hex() for line in (row, row + 1))
            text.append("▀", style=f"#{upper} on #{lower}")
        text.append("\n")
    return text


def as_json(reply: Reply) -> None:
    """One line per photograph."""
    print(json.dumps(reply.to_dict(), ensure_ascii=False, allow_nan=False), flush=True)


@contextmanager
def csv_writer() -> Iterator[Write]:
    """One row per result under one line of headings."""
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    yield lambda reply: writer.writerows(reply.rows())


@contextmanager
def page_writer(path: Path, title: str) -> Iterator[Write]:
    """A page that is written when all photographs are answered."""
    from pipeline.asking.answer_page import page

    replies: list[Reply] = []
    yield replies.append
    with replacing(path) as partial:
        partial.write_text(page(replies, title), encoding="utf-8")


@contextmanager
def sheet_writer(path: Path) -> Iterator[Write]:
    """A PNG with a row of pictures for each photograph, written when all are answered."""
    sheets: list[Image.Image] = []
    yield lambda reply: sheets.append(sheet(reply))
    whole = Image.new("RGB", (max((each.width for each in sheets), default=1), sum(each.height for each in sheets) or 1), "white")
    top = 0
    for each in sheets:
        whole.paste(each, (0, top))
        top += each.height
    with replacing(path) as partial:
        whole.save(partial, "PNG")


def sheet(reply: Reply) -> Image.Image:
    """The photograph and its results as one picture, with what each shows below it, and boxes where re-ranking found some."""
    shown = [(_opened(reply.asked), "asked", None), *((_opened(found.thumbnail), _caption(found), found.box) for found in reply.results)]
    columns = min(SHEET_COLUMNS, len(shown))
    height = max(picture.height for picture, *_ in shown) + 2 * MARGIN + LINE
    rows = -(-len(shown) // columns)
    whole = Image.new("RGB", (columns * (SHEET_SIDE + MARGIN) + MARGIN, LINE + MARGIN + rows * height), "white")
    draw = ImageDraw.Draw(whole)
    draw.text((MARGIN, MARGIN // 2), f"{reply.photograph}: {reply.verdict}", fill="black")
    for place, (picture, caption, box) in enumerate(shown):
        left, top = MARGIN + place % columns * (SHEET_SIDE + MARGIN), LINE + MARGIN + place // columns * height
        whole.paste(picture, (left, top))
        if box:
            sides = (picture.width, picture.height) * 2
            draw.rectangle([edge * side + start for edge, side, start in zip(box, sides, (left, top) * 2, strict=True)], outline="#e4572e", width=2)
        draw.text((left, top + picture.height + 2), caption, fill="black")
    return whole


def _opened(jpeg: bytes) -> Image.Image:
    """A picture of at most SHEET_SIDE pixels."""
    with Image.open(io.BytesIO(jpeg)) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((SHEET_SIDE, SHEET_SIDE))
    return picture


def _caption(found: Found) -> str:
    return f"{found.rank}. {found.instance or found.image_id} {found.score:.3f}"
