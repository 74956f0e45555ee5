"""Readers of what others wrote, given mutated and random bytes: each takes them or refuses them in one line.

`FUZZ_EXAMPLES=10000 python -m pytest tests/test_fuzzed_inputs.py` tries more than the few of every day.
"""

import gzip
import io
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from pipeline.acquisition.archives import members
from pipeline.acquisition.image_list import read_image_list
from pipeline.imaging.images import load_image
from pipeline.networks.weight_files import read_weights
from pipeline.stage.errors import PipelineError
from pipeline.stage.tables import open_table, read_json
from pipeline.stage.yaml_text import parse_yaml
from tests.pictures import pixels

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
FUZZ = settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES < 1000, suppress_health_check=list(HealthCheck))


def picture(format: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(0, 24, 16)).convert(mode).save(buffer, format)
    return buffer.getvalue()


def heic() -> bytes:
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels(0, 24, 16))).save(buffer, quality=50)
    return buffer.getvalue()


def tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name in ("a/1.jpg", "a/2.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 5
            archive.addfile(info, io.BytesIO(b"bytes"))
    data: bytes = buffer.getvalue()
    return data


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.jpg", b"bytes" * 20)
    return buffer.getvalue()


def state_dict() -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(2, 3)}, buffer)
    return buffer.getvalue()


def table() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"image_id": ["a", "b"]}), buffer)
    return buffer.getvalue()


PICTURES = [picture(name) for name in ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "JPEG2000", "AVIF")]
PICTURES += [picture("PNG", "P"), picture("PNG", "RGBA"), picture("TIFF", "F"), picture("TIFF", "CMYK"), heic()]
ARCHIVES = [tar("w"), tar("w:gz"), tar("w:bz2"), tar("w:xz"), zipped(), gzip.compress(b"no archive")]
LIST = b'path,instance,role,box,id\na/1.jpg,x,query,1 2 3 4,q\n"a,2.jpg","y""z",,,\n'
WEIGHTS = [save({"a": torch.ones(2, 3), "b": torch.zeros(1, dtype=torch.int64)})]
PARAMETERS = b"a: {b: [1, 2.5], c: null}\nd: 'text'\n? e\n: |\n  lines\n"


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A good file with bytes changed, cut out, doubled and put in."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        if not data:
            break
        place, length = draw(st.integers(0, len(data) - 1)), draw(st.integers(1, 16))
        match draw(st.sampled_from(["flip", "cut", "double", "put", "end"])):
            case "flip":
                data[place] ^= draw(st.integers(1, 255))
            case "cut":
                del data[place : place + length]
            case "double":
                data[place:place] = data[place : place + length]
            case "put":
                data[place:place] = draw(st.binary(min_size=1, max_size=8))
            case _:
                del data[place:]
    return bytes(data)


def given_bytes(seeds: list[bytes]) -> Callable[..., Callable[..., None]]:
    return given(data=st.one_of(mutated(seeds), mutated(seeds), mutated(seeds), st.binary(max_size=300)))


def taken_or_refused(read: Callable[[Path], object], data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        try:
            read(path)
        except PipelineError as error:
            assert "\n" not in str(error)  # noqa: PT017 -- most inputs are taken or refused, and both are right


@FUZZ
@given_bytes(PICTURES)
def test_pictures(data: bytes) -> None:
    def read(path: Path) -> None:
        image = load_image(path.read_bytes())
        assert image.mode == "RGB"
        assert np.asarray(image).dtype == np.uint8

    taken_or_refused(read, data, "picture")


@FUZZ
@given_bytes([LIST, LIST.replace(b",", b";"), LIST.decode().encode("utf-16")])
@example(data=b"\xff\xfe")
def test_lists(data: bytes) -> None:
    taken_or_refused(read_image_list, data, "list.csv")


@FUZZ
@given_bytes(ARCHIVES)
def test_archives(data: bytes) -> None:
    taken_or_refused(lambda path: list(members(path)), data, "archive")


@FUZZ
@given_bytes(WEIGHTS)
def test_safetensors(data: bytes) -> None:
    taken_or_refused(read_weights, data, "weights.safetensors")


@FUZZ
@given_bytes([state_dict()])
def test_state_dicts(data: bytes) -> None:
    taken_or_refused(read_weights, data, "weights.pth")


@FUZZ
@given_bytes([table()])
def test_tables(data: bytes) -> None:
    taken_or_refused(lambda path: open_table(path, "images"), data, "part.parquet")


@FUZZ
@given_bytes([b'{"kind": "images", "parts": [], "facts": {"a": 1.5}}'])
def test_json(data: bytes) -> None:
    taken_or_refused(read_json, data, "file.json")


@FUZZ
@given_bytes([PARAMETERS])
def test_yaml(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        parse_yaml(text)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_the_seeds_are_good_files(tmp_path: Path) -> None:
    for data in PICTURES:
        assert load_image(data).size == (24, 16)
    (tmp_path / "list.csv").write_bytes(LIST)
    assert len(read_image_list(tmp_path / "list.csv")) == 2
    for place, data in enumerate(ARCHIVES[:-1]):
        (tmp_path / f"{place}").write_bytes(data)
        assert list(members(tmp_path / f"{place}"))
    (tmp_path / "weights.safetensors").write_bytes(WEIGHTS[0])
    assert set(read_weights(tmp_path / "weights.safetensors")) == {"a", "b"}
    assert pytest.approx(2.5) == parse_yaml(PARAMETERS.decode())["a"]["b"][1]
