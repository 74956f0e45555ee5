"""Ids that stand for two things are refused before anything is ranked: distractors of the database, queries in the means of their instances."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.descriptors import descriptor_columns, descriptor_writer
from pipeline.search.__main__ import refuse_own_instances, refuse_shared_ids
from pipeline.search.params import SearchParameters
from pipeline.stage.catalogue import CatalogueRow, GroundTruth
from pipeline.stage.errors import ParameterError, SanityError


def shard(path: Path, ids: list[str]) -> Path:
    with descriptor_writer(path, 4) as writer:
        writer.write(descriptor_columns(ids, np.ones((len(ids), 4), np.float32)))
    return path


def test_an_id_that_both_have_is_named(tmp_path: Path) -> None:
    own, others = shard(tmp_path / "database-00000.parquet", ["a", "b"]), shard(tmp_path / "distractors-00000-00000.parquet", ["c", "b"])
    with pytest.raises(SanityError, match=r"benchmarks\.x\.distractors: b is an image of the database as well"):
        refuse_shared_ids("x", [own], [others])
    refuse_shared_ids("x", [own], [])


@pytest.mark.parametrize("instances", ["mean", "weighted"])
def test_queries_that_are_in_the_means_of_their_instances_are_refused(instances: str) -> None:
    mixed = SearchParameters.model_validate({"augmentation": {"instances": instances}})
    rows = [CatalogueRow(name, name, "", 1, 1, role) for name, role in (("a", "database"), ("b", "database"), ("q", "query"))]
    with pytest.raises(ParameterError, match=rf"search\.augmentation\.instances: {instances} mixes .* 2 queries of benchmarks\.x, a the first"):
        refuse_own_instances("x", mixed, GroundTruth("instances", ("a", "b"), ()), rows)
    refuse_own_instances("x", mixed, GroundTruth("instances", ("q",), ()), rows)
    refuse_own_instances("x", SearchParameters(), GroundTruth("instances", ("a", "b"), ()), rows)
