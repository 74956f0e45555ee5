"""The rows of a collection: exact selection with ties, indexes whose candidates are compared exactly, codes, patches, too little to learn from."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from pipeline.collecting.loss import measure_loss
from pipeline.contracts.collections import INDEX, REMOVED, ROWS, SHORTLIST_ROWS, IndexFacts, map_rows, new_rows
from pipeline.contracts.descriptors import KIND as DESCRIPTORS
from pipeline.contracts.descriptors import descriptor_columns, descriptor_writer
from pipeline.search.candidate_index import build_candidate_index, drawn, learning_rows, save_index
from pipeline.search.code_scan import nearest_codes
from pipeline.search.collection_params import CollectionParameters, refuse_index
from pipeline.search.database import Database, best_of, every_row_compared
from pipeline.search.distances import scoring
from pipeline.search.params import SearchParameters
from pipeline.search.patch_scan import scan_patches
from pipeline.search.vector_scan import top_results
from pipeline.search.whole_images import whole_image
from pipeline.stage.catalogue import GroundTruth
from pipeline.stage.errors import ModelError, ParameterError, ShardError
from pipeline.stage.manifest import Manifest, describe_parts
from pipeline.stage.tables import write_json
from tests.search.test_patch_matching import blocks_of, patches

Kind = Literal["flat", "hnsw", "ivf_pq", "scalar", "multi_index"]
CPU = torch.device("cpu")


def clustered(seed: int, count: int, dimensions: int = 32) -> npt.NDArray[np.float32]:
    """Unit vectors around 40 centres, as descriptors of instances are."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(40, dimensions))
    values = centres[generator.integers(0, 40, count)] + 0.3 * generator.normal(size=(count, dimensions))
    unit: npt.NDArray[np.float32] = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return unit


def database(folder: Path, rows: npt.NDArray[Any], kind: Kind = "flat", search: dict[str, Any] | None = None, **changes: Any) -> Database:
    """A database in a folder, whose index is learned on other vectors."""
    folder.mkdir()
    target = new_rows(folder / ROWS, rows.shape, rows.dtype)
    target[:] = rows
    parameters = SearchParameters.model_validate(search or {})
    compared = rows
    if parameters.shortlist:
        compared = whole_image(rows, parameters.candidates)
        np.save(folder / SHORTLIST_ROWS, compared)
    if kind != "flat":
        own = CollectionParameters.model_validate({"index": kind} | changes)
        save_index(build_candidate_index(kind, own, compared, clustered(9, 1000)), folder / INDEX)
    names = pa.chunked_array([pa.array([f"image{place}" for place in range(len(rows))])])
    return Database(folder, IndexFacts(kind=kind, candidates=50, loss={}), names, parameters, CPU)


def test_the_best_are_those_of_a_stable_sort() -> None:
    generator = torch.Generator().manual_seed(0)
    for width, k in ((50, 7), (50, 50), (3, 10), (1, 1)):
        scores = torch.randint(0, 5, (20, width), generator=generator).float()
        values, places = best_of(scores, k)
        expected = scores.sort(dim=1, descending=True, stable=True)
        torch.testing.assert_close(values, expected.values[:, :k], rtol=0, atol=0)
        torch.testing.assert_close(places, expected.indices[:, :k], rtol=0, atol=0)


@pytest.mark.parametrize("distance", ["dot", "l2", "l1"])
def test_every_row_compared_gives_the_results_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distance: str) -> None:
    monkeypatch.setattr("pipeline.search.database.BLOCK", 128)
    rows, queries = clustered(1, 500), clustered(2, 9)
    rows[100:110] = rows[7]  # ties
    own = database(tmp_path / "own", rows, search={"distance": distance})
    found = own.top(queries, 20)
    ids = [f"image{place}" for place in range(500)]
    expected = top_results(torch.from_numpy(queries), blocks_of(ids, rows, 128), 20, scoring(own.parameters.distance_of(patches=False)))
    assert found.image_ids == expected.image_ids
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    torch.testing.assert_close(own.read(found.image_ids, torch.zeros(1, 32))[0, 0], torch.from_numpy(rows[own.place(found.image_ids[0][0])]))


def test_more_equal_rows_than_are_named_stand_in_the_order_of_the_database(tmp_path: Path) -> None:
    rows = np.repeat(clustered(1, 2), 400, axis=0)
    found = database(tmp_path / "own", rows).top(rows[:1], 20)
    assert found.image_ids == [[f"image{place}" for place in range(20)]]


@pytest.mark.parametrize(("kind", "changes"), [("hnsw", {}), ("scalar", {}), ("ivf_pq", {"ivf_pq": {"lists": 20, "probes": 10, "code_bytes": 16}})])
def test_indexes_find_most_of_the_exact_results_with_their_exact_scores(tmp_path: Path, kind: Kind, changes: dict[str, Any]) -> None:
    rows, queries = clustered(3, 3000), clustered(4, 30)
    own = database(tmp_path / "own", rows, kind, **changes)
    found, exact = own.top(queries, 10), own.exact().top(queries, 10)
    recall = np.mean([len(set(got) & set(right)) / 10 for got, right in zip(found.image_ids, exact.image_ids, strict=True)])
    assert recall > 0.9
    for query, ids, scores in zip(queries, found.image_ids, found.scores, strict=True):
        np.testing.assert_allclose(scores, [rows[own.place(name)] @ query for name in ids], atol=1e-6)
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("kind", ["flat", "multi_index"])
def test_codes_are_found_by_their_hamming_distance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    monkeypatch.setattr("pipeline.search.database.CODES_AT_ONCE", 64)
    generator = np.random.default_rng(5)
    codes = generator.integers(0, 256, (300, 8), np.uint8)
    queries = codes[:6].copy()
    queries[:, 0] ^= 3  # two bits
    own = database(tmp_path / "own", codes, kind, multi_index={"part_bits": 8, "radius": 1})
    found = own.top(queries, 5)
    ids = [f"image{place}" for place in range(300)]
    expected = nearest_codes(queries, blocks_of(ids, codes, 64), 5)  # type: ignore[arg-type]
    assert [names[0] for names in found.image_ids] == ids[:6]
    assert [scores[0] for scores in found.scores] == [-2.0] * 6
    if kind == "flat":
        assert (found.image_ids, found.scores) == (expected.image_ids, expected.scores)
    far = ~codes[:1]
    assert own.top(far, 1).scores == nearest_codes(far, blocks_of(ids, codes, 300), 1).scores, "what no part finds is compared with every code"  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "shortlist"), [("flat", None), ("flat", 30), ("hnsw", 30)])
def test_patches_are_compared_by_their_distance(tmp_path: Path, kind: Kind, shortlist: int | None) -> None:
    rows, queries = patches(6, 40, 5), patches(7, 4, 5)
    queries[:, 0] = rows[:4, 0]
    own = database(tmp_path / "own", rows, kind, search={"top_k": 10, "shortlist": shortlist, "query_levels": 1})
    found = own.top(queries, 10)
    names, scores = scan_patches(torch.from_numpy(queries[:, :1]), blocks_of([f"image{place}" for place in range(40)], rows, 40), "l2")
    for query in range(4):
        by_name = dict(zip(names, scores[query].tolist(), strict=True))
        assert found.scores[query] == pytest.approx([by_name[name] for name in found.image_ids[query]], abs=1e-5)
        if shortlist is None:
            assert found.image_ids[query] == sorted(names, key=lambda name: -by_name[name])[:10]


def test_quantisers_are_refused_too_few_held_out_vectors() -> None:
    rows = clustered(8, 300)
    for kind, needed in (("ivf_pq", 256), ("scalar", 2)):
        with pytest.raises(ModelError, match=f"{kind} is learned on held-out descriptors, and there are {needed - 1} of at least {needed}"):
            build_candidate_index(kind, CollectionParameters(), rows, clustered(9, needed - 1))  # type: ignore[arg-type]


def test_an_index_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    database(tmp_path / "own", clustered(1, 200), "scalar")
    file = tmp_path / "own" / INDEX
    file.write_bytes(file.read_bytes()[:100])
    kind = IndexFacts(kind="scalar", candidates=50, loss={})
    with pytest.raises(ShardError, match="not a readable index"):
        Database(tmp_path / "own", kind, pa.chunked_array([pa.array(["a"])]), SearchParameters(), CPU)
    (tmp_path / "rows.npy").write_bytes(b"no rows")
    with pytest.raises(ShardError, match="not readable rows"):
        map_rows(tmp_path / "rows.npy")


def test_the_index_follows_size_and_kind_of_rows() -> None:
    own = CollectionParameters()
    assert [own.kind_for(count, codes=False) for count in (100_000, 100_001, 2_000_001)] == ["flat", "hnsw", "ivf_pq"]
    assert [own.kind_for(count, codes=True) for count in (2_000_000, 2_000_001)] == ["flat", "multi_index"]
    assert CollectionParameters(index="scalar").kind_for(1, codes=False) == "scalar"
    with pytest.raises(ParameterError, match=r"hnsw is no index of codes; allowed: auto, flat, multi_index$"):
        refuse_index(CollectionParameters(index="hnsw"), SearchParameters(), codes=True)
    with pytest.raises(ParameterError, match=r"set it to flat with search\.distance l1"):
        refuse_index(CollectionParameters(index="scalar"), SearchParameters(distance="l1"), codes=False)
    with pytest.raises(ValidationError, match="less than the 500 candidates"):
        CollectionParameters(index="hnsw", candidates=500)


def test_one_block_is_as_good_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, queries = clustered(1, 333), torch.from_numpy(clustered(2, 5))
    whole = every_row_compared(queries, rows, 17, scoring("dot"))
    monkeypatch.setattr("pipeline.search.database.BLOCK", 10)
    parts = every_row_compared(queries, rows, 17, scoring("dot"))
    np.testing.assert_array_equal(whole[1], parts[1])


@pytest.mark.parametrize("kind", ["flat", "scalar", "codes", "multi_index", "patches"])
def test_images_that_were_taken_out_are_no_answer_and_the_others_are_ranked_as_before(tmp_path: Path, kind: str) -> None:
    generator = np.random.default_rng(3)
    rows: npt.NDArray[Any] = clustered(1, 400)
    queries: npt.NDArray[Any] = clustered(2, 6)
    if kind in ("codes", "multi_index"):
        rows, queries = generator.integers(0, 256, (400, 8), np.uint8), generator.integers(0, 256, (6, 8), np.uint8)
        rows[50:80] = queries[0]
    elif kind == "patches":
        rows, queries = patches(4, 400, 5), patches(5, 6, 5)
    index: Kind = {"scalar": "scalar", "multi_index": "multi_index"}.get(kind, "flat")  # type: ignore[assignment]
    whole = database(tmp_path / "whole", rows, index).top(queries, 400)
    gone = {image_id for ids in whole.image_ids for image_id in ids[:9:2]}
    write_json(tmp_path / "whole" / REMOVED, {"image_ids": sorted(gone)})
    names = pa.chunked_array([pa.array([f"image{place}" for place in range(400)])])
    left = Database(tmp_path / "whole", IndexFacts(kind=index, candidates=50, loss={}), names, SearchParameters(), CPU)
    found = left.top(queries, 12)
    assert found.size == 400 - len(gone)
    for query, ids in enumerate(found.image_ids):
        expected = [image_id for image_id in whole.image_ids[query] if image_id not in gone][:12]
        if kind in ("flat", "codes", "patches"):
            assert ids == expected
        assert len(ids) == 12 or kind == "multi_index"
        assert not gone & set(ids)


def test_removed_images_take_no_place_of_a_shortlist(tmp_path: Path) -> None:
    rows, queries = patches(4, 60, 5), patches(5, 3, 5)
    search = {"top_k": 10, "shortlist": 20, "query_levels": 1}
    whole = database(tmp_path / "whole", rows, search=search)
    gone = {image_id for ids in whole.top(queries, 20).image_ids for image_id in ids[:5]}
    write_json(tmp_path / "whole" / REMOVED, {"image_ids": sorted(gone)})
    names = pa.chunked_array([pa.array([f"image{place}" for place in range(60)])])
    left = Database(tmp_path / "whole", IndexFacts(kind="flat", candidates=50, loss={}), names, SearchParameters.model_validate(search), CPU)
    assert [len(ids) for ids in left.top(queries, 20).image_ids] == [20] * 3


def test_held_out_rows_are_drawn_evenly_and_as_many_as_lists_need(tmp_path: Path) -> None:
    values = np.arange(700, dtype=np.float32)[:, None]
    for number, part in enumerate(np.array_split(values, 3)):
        with descriptor_writer(tmp_path / f"held_out-{number:05d}.parquet", 1) as writer:
            writer.write(descriptor_columns([f"image{value:.0f}" for value in part[:, 0]], part))
    names = sorted(path.name for path in tmp_path.iterdir())
    Manifest(DESCRIPTORS, describe_parts(tmp_path, names), {}).save(tmp_path)
    for at_most in (1000, 700, 699, 350, 7):
        got = drawn(tmp_path, None, at_most)[:, 0]
        assert len(got) == min(at_most, 700)
        assert np.ptp(np.diff(got)) <= 1
    own = CollectionParameters.model_validate({"ivf_pq": {"lists": 20_000}})
    assert learning_rows("ivf_pq", own, 10**6) == 39 * 20_000
    assert learning_rows("ivf_pq", CollectionParameters(), 10**8) == 39 * 40_000
    assert learning_rows("scalar", own, 10**6) == learning_rows("ivf_pq", CollectionParameters(), 100) == 200_000


def test_a_query_of_the_database_is_no_result_of_its_own(tmp_path: Path) -> None:
    rows = clustered(1, 300)
    own = database(tmp_path / "own", rows, "scalar")
    names = [f"image{place}" for place in range(8)]
    truth = GroundTruth("instances", tuple(names), tuple(("image0", other, "good") for other in ("image1", "image2")))
    loss = measure_loss(own, iter([(names, rows[:8])]), truth)
    exact = own.exact().top(rows[:1], 101).image_ids[0]
    assert exact[0] == "image0"
    ranks = sorted(exact.index(name) for name in ("image1", "image2") if name in exact)  # of the others, from 1
    assert loss["exact_map"] == pytest.approx(sum((place + 1) / rank for place, rank in enumerate(ranks)) / 2), (
        "queries without positives do not count"
    )
    assert loss["recall_1"] <= 1.0
