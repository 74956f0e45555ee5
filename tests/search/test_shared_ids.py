"""Distractors whose ids the database has are refused before anything is ranked."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.descriptors import KIND, descriptor_columns, descriptor_writer
from pipeline.contracts.errors import SanityError
from pipeline.contracts.manifest import Manifest, describe_parts
from pipeline.search.__main__ import refuse_shared_ids


def folder_of(place: Path, name: str, ids: list[str]) -> Manifest:
    place.mkdir()
    with descriptor_writer(place / name, 4) as writer:
        writer.write(descriptor_columns(ids, np.ones((len(ids), 4), np.float32)))
    return Manifest(KIND, describe_parts(place, [name]))


def test_an_id_that_both_have_is_named(tmp_path: Path) -> None:
    folders = {"descriptors": tmp_path / "own", "distractors": tmp_path / "others"}
    manifests = {"descriptors": folder_of(folders["descriptors"], "database-00000.parquet", ["a", "b"])}
    manifests["distractors"] = folder_of(folders["distractors"], "distractors-00000-00000.parquet", ["c", "b"])
    with pytest.raises(SanityError, match=r"benchmarks\.x\.distractors: b is an image of the database as well"):
        refuse_shared_ids("x", folders, manifests)
    manifests["distractors"] = Manifest(KIND, ())
    refuse_shared_ids("x", folders, manifests)
