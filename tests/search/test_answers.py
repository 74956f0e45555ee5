"""Nearest instances, confidence and the threshold of unknown objects, in plain counts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.contracts.results import Results
from pipeline.evaluation.answers import score_answers, shown_by_queries
from pipeline.reranking.expansion import augment_database, augment_within_instances, average_instances
from pipeline.search.answer_table import known_instances, search_unknown, write_answers
from pipeline.search.answers import Answer, UnknownObjects, answers_of
from pipeline.search.params import SearchParameters
from pipeline.search.plain_search import DescriptorSearch
from pipeline.stage.catalogue import CatalogueRow, GroundTruth, write_catalogue
from pipeline.stage.tables import open_table, table_facts
from tests.search.test_patch_matching import folder_of

INSTANCES = {"a1": "a", "a2": "a", "b1": "b"}


def answer(query: str, score: float, instance: str = "a") -> Answer:
    return Answer(query, "a1", instance, score, None)


def unit(count: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    values = np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)
    lengths: np.ndarray[tuple[int, int], np.dtype[np.float32]] = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, lengths)


def test_the_answer_is_the_first_known_instance_and_another_runs_up() -> None:
    results = Results(
        [["x", "a2", "a1", "b1"], ["a1", "b1"], ["x", "y"], ["a2", "a1"]], [[0.9, 0.8, 0.7, 0.6], [0.5, 0.4], [0.3, 0.2], [0.2, 0.1]], 4
    )
    assert answers_of(["q", "a1", "r", "s"], results, INSTANCES) == [
        Answer("q", "a2", "a", 0.8, 0.6),
        Answer("a1", "b1", "b", 0.4, None),
        Answer("s", "a2", "a", 0.2, None),
    ]


@pytest.mark.parametrize(("count", "share"), [(40, 0.05), (400, 0.05), (400, 0.2), (7, 0.05)])
def test_threshold_holds_for_unknown_objects_that_were_not_learned_on(count: int, share: float) -> None:
    """Over many draws the share of new unknown scores above the threshold is not more than asked for."""
    above = []
    for seed in range(300):
        scores = np.random.default_rng(seed).normal(size=count + 1)
        unknown = UnknownObjects.of([answer(f"{place:04}", score) for place, score in enumerate(scores[:-1].repeat(2))], share)
        assert len(unknown.scores) == len(unknown.checked) == count
        assert unknown.threshold is not None
        above.append(scores[-1] > unknown.threshold)
    allowed = max(share, 1 / (count + 1))
    assert np.mean(above) <= allowed + 3 * np.sqrt(allowed * (1 - allowed) / 300)


def test_confidence_is_the_share_of_unknown_scores_below() -> None:
    unknown = UnknownObjects(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.15, 0.5]), 0.5)
    assert [unknown.confidence(score) for score in (0.05, 0.25, 0.5)] == pytest.approx([0.0, 0.4, 0.8])
    assert unknown.threshold == pytest.approx(0.3)
    assert unknown.accepted == pytest.approx(0.5)
    nothing = UnknownObjects.of([], 0.05)
    assert (nothing.threshold, nothing.accepted, nothing.confidence(0.5)) == (None, None, None)


def test_averages_of_instances_are_those_of_a_loop() -> None:
    vectors, labels = torch.from_numpy(unit(7, 0)), torch.tensor([4, 1, 4, 1, 1, 7, 4])
    means, found = average_instances(vectors, labels)
    assert found.tolist() == [1, 4, 7]
    for mean, label in zip(means, found, strict=True):
        own = vectors[labels == label].mean(dim=0)
        assert torch.allclose(mean, own / own.norm(), atol=1e-6)
    weighted = augment_within_instances(vectors, labels)
    for label in found:
        assert torch.allclose(weighted[labels == label], augment_database(vectors[labels == label], int((labels == label).sum()) - 1))
    assert torch.equal(weighted[5], vectors[5])


def row(image_id: str, role: str, instance: str | None) -> CatalogueRow:
    return CatalogueRow(image_id, image_id, "", 1, 1, role, instance)


def test_held_out_photographs_of_known_instances_are_not_unknown(tmp_path: Path) -> None:
    rows = [row(f"database{place}", "database", f"piece{place // 2}") for place in range(6)]
    rows += [row(f"held_out{place}", "held_out", f"piece{place}") for place in range(6)]
    write_catalogue(tmp_path / "catalogue.parquet", rows)
    own = folder_of(tmp_path / "own", {"database": unit(6, 1), "held_out": unit(6, 2)})
    search = DescriptorSearch(own, own, 6, SearchParameters(top_k=6, accept_unknown=0.4), torch.device("cpu"))
    instances = known_instances(tmp_path)
    assert instances == {f"database{place}": f"piece{place // 2}" for place in range(6)}
    unknown = search_unknown(search, tmp_path, instances)
    best = (unit(6, 2)[3:] @ unit(6, 1).T).max(axis=1)
    np.testing.assert_allclose(unknown.scores, np.sort(best[::2]), atol=1e-5)
    np.testing.assert_allclose(unknown.checked, best[1::2], atol=1e-5)
    path = tmp_path / "answers.parquet"
    answers = [answer("q1", 2.0, "piece0"), answer("q2", -2.0, "piece1"), answer("q3", 3.0, "piece1")]
    write_answers(path, answers, unknown)
    file = open_table(path, "answers")
    assert table_facts(file)["threshold"] == unknown.threshold
    assert [entry["known"] for entry in file.read().to_pylist()] == [True, False, True]
    found = score_answers(path, {"q1": "piece0", "q2": "piece0", "q3": "piece1", "q4": "piece2"})
    assert found is not None
    assert found.correct == pytest.approx(2 / 4)
    assert found.accepted == pytest.approx(2 / 4)
    assert found.correct_of_accepted == 1
    assert found.unknown_learned_on == 2
    assert score_answers(path, {}) is None


def test_queries_without_another_photograph_of_their_instance_are_left_out() -> None:
    rows = [row("a1", "database", "a"), row("a2", "database", "a"), row("b1", "database", "b"), row("q", "query", "b"), row("r", "query", "c")]
    truth = GroundTruth("instances", ("a1", "b1", "q", "r"), ())
    assert shown_by_queries(rows, truth) == {"a1": "a", "q": "b"}
