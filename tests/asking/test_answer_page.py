"""Answers as a page and as a fragment: pictures inside, boxes in their places, names of files as text."""

import io
import re
from dataclasses import replace

from PIL import Image

from pipeline.asking.answer_page import page
from pipeline.look.stylesheet import stylesheet
from pipeline.search.reply import Found, Reply

BUFFER = io.BytesIO()
Image.new("RGB", (8, 6), "red").save(BUFFER, "JPEG")
JPEG = BUFFER.getvalue()
FOUND = Found(1, "gallery/<b>1</b>", 0.75, "<script>alert(1)</script>", "a.jpg", (0.25, 0.5, 0.75, 1.0), JPEG)
REPLY = Reply("<img src=x>.jpg", (FOUND, replace(FOUND, rank=2, box=None, instance=None)), "a tower", True, 0.01, 0.9, JPEG)


def test_the_page_has_the_common_look_and_all_its_pictures() -> None:
    text = page([REPLY, REPLY], "What is this?")
    assert stylesheet() in text
    assert text.count("data:image/jpeg;base64,") == 6
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text), "it needs no other file and no address"
    assert text.count('<span class="mark" style="left: 25.0%; top: 50.0%; width: 50.0%; height: 50.0%">') == 2
    assert text.count("2. no name") == 2


def test_names_are_texts() -> None:
    for text in (page([REPLY], "<i>title</i>"), REPLY._repr_html_()):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert not re.findall(r"<script>|<b>1|<img src=x>|<i>", text)
        assert REPLY.verdict in text
