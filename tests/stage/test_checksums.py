"""A flipped byte in any part of a folder is an error where the part is read, and the message names what to delete."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.contracts.descriptors import descriptor_columns, descriptor_writer
from pipeline.contracts.models import load_model, save_model
from pipeline.stage.errors import ShardError
from pipeline.stage.manifest import CARD, Manifest, describe_parts, load_manifest
from pipeline.stage.tables import open_table, read_json


def flip(path: Path, place: float = 0.5) -> None:
    """Change one byte, at a share of the file's length."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 0x10
    path.write_bytes(data)


@pytest.fixture
def folder(workplace: Path) -> Path:
    """A published folder with a table and a model."""
    folder = workplace / "data/descriptors/b"
    with descriptor_writer(folder / "part-00000.parquet", 8) as writer:
        writer.write(descriptor_columns(["a", "b"], np.ones((2, 8), np.float32)))
    save_model(folder, {"mean": torch.zeros(300)}, {"kind": "PCA"})
    names = ["part-00000.parquet", "model.safetensors", CARD]
    Manifest("descriptors", describe_parts(folder, names), {"database": 2}).save(folder)
    return folder


def read_all(folder: Path) -> None:
    load_manifest(folder, "descriptors")
    open_table(folder / "part-00000.parquet", "descriptors")
    load_model(folder)


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("name", ["part-00000.parquet", "model.safetensors", CARD])
def test_a_flipped_byte_of_a_part_is_an_error(folder: Path, name: str, place: float) -> None:
    read_all(folder)
    flip(folder / name, place)
    with pytest.raises(ShardError, match=rf"{name}: not the bytes that were written; delete .*b, and run `dvc repro`"):
        read_all(folder)


def test_a_flipped_byte_of_the_manifest_is_an_error(folder: Path) -> None:
    good = (folder / "manifest.json").read_bytes()
    for index in range(0, len(good), 7):
        data = bytearray(good)
        data[index] ^= 0x01
        (folder / "manifest.json").write_bytes(data)
        try:
            same = json.loads(data) == json.loads(good)
        except ValueError:
            same = False
        if not same:
            with pytest.raises(ShardError, match=r"manifest\.json"):
                load_manifest(folder, "descriptors")


def test_a_folder_that_is_replaced_is_held_against_its_new_manifest(folder: Path) -> None:
    read_all(folder)
    with descriptor_writer(folder / "part-00000.parquet", 8) as writer:
        writer.write(descriptor_columns(["c"], np.zeros((1, 8), np.float32)))
    Manifest("descriptors", describe_parts(folder, ["part-00000.parquet", "model.safetensors", CARD])).save(folder)
    read_all(folder)


@pytest.mark.parametrize("text", [b"{", b"[" * 20000, b"\xff\xfe", b"1" * 5000, b""])
def test_damaged_json_is_one_line(workplace: Path, text: bytes) -> None:
    Path("file.json").write_bytes(text)
    with pytest.raises(ShardError, match=r"file\.json: not valid JSON"):
        read_json(Path("file.json"))


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"kind": "descriptors", "parts": [1], "facts": {}, "fingerprint": ""}'])
def test_a_manifest_that_is_none_is_refused(workplace: Path, content: str) -> None:
    Path("manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(ShardError, match="damaged, or of another version"):
        load_manifest(Path(), "descriptors")


@pytest.mark.parametrize(("output", "inside"), [("data/descriptors/b", ""), ("data/descriptors", "b/")])
@pytest.mark.parametrize("cache", [".dvc/cache", ".dvc/../elsewhere"])
def test_the_message_names_the_object_of_the_cache(folder: Path, output: str, inside: str, cache: str) -> None:
    """The damage came from DVC's cache, and would come back from there."""
    part = folder / "part-00000.parquet"
    cached, listing = Path(cache, "files/md5/ab/cdef"), Path(cache, "files/md5/12/34.dir")
    for path, content in ((cached, part.read_bytes()), (listing, json.dumps([{"md5": "abcdef", "relpath": f"{inside}{part.name}"}]).encode())):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    Path(".dvc").mkdir(exist_ok=True)
    if cache != ".dvc/cache":
        said = f"[cache]\n    dir = {cache.removeprefix('.dvc/')}\n['remote \"a\"']\n    url = s3://50%\n"
        Path(".dvc/config.local").write_text(said, encoding="utf-8")
    lock = {"stages": {"aggregate@b": {"outs": [{"path": output, "md5": "1234.dir"}]}}}
    Path("dvc.lock").write_text(json.dumps(lock), encoding="utf-8")
    flip(part)
    with pytest.raises(ShardError, match=rf"delete {output} and {re.escape(str(cached))}, which it is restored from"):
        open_table(part.relative_to(Path.cwd()), "descriptors")
