"""Distractors whose ids the database has are refused before anything is ranked."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.descriptors import descriptor_columns, descriptor_writer
from pipeline.search.__main__ import refuse_shared_ids
from pipeline.stage.errors import SanityError


def shard(path: Path, ids: list[str]) -> Path:
    with descriptor_writer(path, 4) as writer:
        writer.write(descriptor_columns(ids, np.ones((len(ids), 4), np.float32)))
    return path


def test_an_id_that_both_have_is_named(tmp_path: Path) -> None:
    own, others = shard(tmp_path / "database-00000.parquet", ["a", "b"]), shard(tmp_path / "distractors-00000-00000.parquet", ["c", "b"])
    with pytest.raises(SanityError, match=r"benchmarks\.x\.distractors: b is an image of the database as well"):
        refuse_shared_ids("x", [own], [others])
    refuse_shared_ids("x", [own], [])
