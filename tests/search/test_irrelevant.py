"""The first images without a label are kept of every query, however many labelled ones stand before them."""

from pathlib import Path

import numpy as np
import torch

from pipeline.contracts.running.scratch import ScratchStore
from pipeline.search.__main__ import _search
from pipeline.search.params import SearchParameters
from pipeline.search.plain_search import DescriptorSearch
from pipeline.stage.catalogue import GroundTruth
from pipeline.stage.tables import read_table
from tests.search.test_patch_matching import folder_of


def test_irrelevant_images_behind_the_first_results_are_kept(tmp_path: Path) -> None:
    angles = np.linspace(0.0, 1.2, 30)
    database = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    queries = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
    own = folder_of(tmp_path / "own", {"database": database, "queries": queries})
    search = DescriptorSearch(own, own, 30, SearchParameters(top_k=5), torch.device("cpu"))
    labelled = {"queries0": range(20), "queries1": [29, 27], "queries2": range(30)}
    rows = tuple((query, f"database{place}", "good") for query, places in labelled.items() for place in places)
    ids, vectors = search.queries(GroundTruth("instances", tuple(labelled), rows))
    assert vectors is not None
    store = ScratchStore("search-x", "f")
    names, _ = _search("database", ids, vectors, search, GroundTruth("instances", tuple(labelled), rows), store, {})
    assert names == ["ranking-database.parquet", "irrelevant-database.parquet", "counts-database.parquet"]
    ranking = read_table(store.path(names[0]), "ranking").to_pylist()
    assert [(row["query_id"], row["rank"]) for row in ranking] == [(query, rank) for query in labelled for rank in range(5)]
    kept = [(row["query_id"], row["rank"], row["image_id"]) for row in read_table(store.path(names[1]), "ranking").to_pylist()]
    assert kept == [("queries0", rank, f"database{rank}") for rank in range(20, 24)] + [
        ("queries1", rank, f"database{29 - rank}") for rank in (1, 3, 4, 5)
    ]
