"""Nearest instances, the threshold of unknown objects, and how sure an answer is of its instance, in plain counts."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.contracts.results import Results
from pipeline.evaluation.answers import calibration_error, micro_average_precision, reliability, score_answers, shown_by_queries
from pipeline.reranking.expansion import augment_database, augment_within_instances, average_instances
from pipeline.reranking.params import AugmentationParameters
from pipeline.search.answer_table import Sureness, doubts, known_instances, learn_sureness, search_known, search_unknown, write_answers
from pipeline.search.answers import Answer, UnknownObjects, answers_of, needed
from pipeline.search.certainty import Certainty
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


@pytest.mark.parametrize(("count", "share"), [(40, 0.05), (400, 0.05), (400, 0.2), (19, 0.05)])
def test_threshold_holds_for_unknown_objects_that_were_not_learned_on(count: int, share: float) -> None:
    """Over many draws the share of new unknown scores above the threshold is not more than asked for."""
    above = []
    for seed in range(300):
        scores = np.random.default_rng(seed).normal(size=count + 1)
        unknown = UnknownObjects.of([answer(f"{place:04}", score) for place, score in enumerate(scores[:-1])], share)
        assert len(unknown.scores) == count
        assert unknown.threshold is not None
        above.append(scores[-1] > unknown.threshold)
    assert np.mean(above) <= share + 3 * np.sqrt(share * (1 - share) / 300)


def test_the_p_value_is_the_share_of_unknown_scores_that_are_as_high() -> None:
    unknown = UnknownObjects(np.array([0.1, 0.2, 0.3, 0.4]), 0.5)
    assert [unknown.p_value(score) for score in (0.05, 0.25, 0.4, 0.5)] == pytest.approx([1.0, 0.6, 0.4, 0.2])
    assert unknown.threshold == pytest.approx(0.3)
    halves = UnknownObjects.of([answer(str(place), score) for place, score in enumerate([0.1, 0.9, 0.2, 0.8, 0.3, 0.7])], 0.5)
    assert halves.accepted == pytest.approx(0.5), "the threshold of the first half, .2, lets all of the second pass, and that of the second none"
    nothing = UnknownObjects.of([], 0.05)
    assert (nothing.threshold, nothing.accepted, nothing.p_value(0.5)) == (None, None, None)


def test_too_few_photographs_of_unknown_objects_say_so() -> None:
    """The smallest p-value of n photographs is 1 / (n + 1): 18 cannot tell a share of .05, and 19 can."""
    assert [needed(share) for share in (0.05, 0.1, 0.5, 0.3)] == [19, 9, 1, 3]
    few = UnknownObjects.of([answer(f"{place:04}", place / 18) for place in range(18)], 0.05)
    assert (few.threshold, few.accepted, len(few.scores)) == (None, None, 18)
    assert doubts("mine", few) == [
        "mine: 18 photographs of unknown objects cannot tell whether an object is known; search.accept_unknown 0.05 needs 19."
    ]
    enough = UnknownObjects.of([answer(f"{place:04}", place / 19) for place in range(19)], 0.05)
    assert enough.threshold == pytest.approx(18 / 19)
    assert doubts("mine", enough) == []
    wrong = UnknownObjects(np.linspace(0, 1, 100), 0.05, accepted=1.0)
    assert doubts("mine", wrong) == [
        "mine: 1.000 of 100 photographs of unknown objects are taken for known by the threshold of the others, search.accept_unknown is 0.05."
    ]


def outcomes(count: int, seed: int) -> list[Answer]:
    """Answers that are right with a probability that the lead decides: instance `a` is right."""
    dice = np.random.default_rng(seed)
    scores, leads = dice.uniform(0.2, 0.9, count), dice.uniform(0, 0.4, count)
    right = dice.random(count) < 1 / (1 + np.exp(-(20 * leads - 3)))
    return [
        Answer(f"{place:05}", "x", "a" if correct else "b", score, score - lead)
        for place, (score, lead, correct) in enumerate(zip(scores, leads, right, strict=True))
    ]


def test_certainty_is_calibrated_on_questions_that_it_did_not_learn_from() -> None:
    learned, asked = outcomes(2000, 0), outcomes(2000, 1)
    certainty = Certainty.learn(learned, {each.query_id: "a" for each in learned})
    assert certainty is not None
    sure, right = [certainty.sure(each) for each in asked], [each.instance == "a" for each in asked]
    bins = reliability(sure, right)
    assert sum(each["queries"] for each in bins) == 2000
    assert calibration_error(bins) < 0.03
    assert calibration_error(reliability([float(np.mean(right))] * 2000, right)) < 0.03, "a constant is calibrated, too, and tells nothing apart"
    assert np.mean([value for value, correct in zip(sure, right, strict=True) if correct]) > np.mean(right) + 0.05
    assert calibration_error(reliability([0.99] * 2000, right)) > 0.1


def test_certainty_never_claims_more_than_its_questions_can_tell() -> None:
    assert Certainty.learn(outcomes(19, 0), {f"{place:05}": "a" for place in range(19)}) is None
    always = [answer(f"{place:05}", 0.5 + place / 100) for place in range(30)]
    certainty = Certainty.learn(always, {each.query_id: "a" for each in always})
    assert certainty is not None
    assert certainty.sure(answer("q", 0.6)) == pytest.approx(31 / 32)
    never = Certainty.learn(always, {each.query_id: "b" for each in always})
    assert never is not None
    assert never.sure(answer("q", 0.6)) == pytest.approx(1 / 32)


def test_the_databases_own_photographs_ask_without_themselves(tmp_path: Path) -> None:
    own = folder_of(tmp_path / "own", {"database": unit(48, 1)})
    search = DescriptorSearch(own, own, 48, SearchParameters(top_k=48), torch.device("cpu"))
    instances = {f"database{place}": f"piece{place // 2}" for place in range(46)} | {"database46": "alone"}
    certainty = search_known(search, instances)
    scores = unit(48, 1) @ unit(48, 1).T
    np.fill_diagonal(scores, -np.inf)
    nearest = scores[:46, :47].argmax(axis=1)
    assert certainty is not None
    assert certainty.questions == 46
    assert certainty.right == sum(place // 2 == found // 2 for place, found in enumerate(nearest.tolist()))
    assert search_known(replace(search, parameters=SearchParameters(augmentation=AugmentationParameters(instances="mean"))), instances) is None


def test_queries_of_other_instances_say_how_sure_an_answer_is(tmp_path: Path) -> None:
    """The answers of one half of the instances are always right, those of the other never: each half is told what the other one showed."""
    own = folder_of(tmp_path / "own", {"database": unit(48, 1)})
    search = DescriptorSearch(own, own, 48, SearchParameters(top_k=48), torch.device("cpu"))
    instances = {f"database{place}": f"piece{place // 4:02}" for place in range(48)}
    shown = {f"q{place:02}": f"piece{place % 12:02}" for place in range(60)}
    answers = [answer(query, 0.5, instance if int(instance[5:]) % 2 else "other") for query, instance in shown.items()]
    write_catalogue(tmp_path / "catalogue.parquet", [row(query, "query", instance) for query, instance in shown.items()])
    found = learn_sureness(search, [*answers, answer("stranger", 0.5)], tmp_path, instances)
    assert found.certainty is not None
    assert (found.certainty.questions, found.certainty.right) == (60, 30)
    for query, instance in shown.items():
        assert found.sure[query] == pytest.approx(1 / 32 if int(instance[5:]) % 2 else 31 / 32)
    assert found.sure["stranger"] == pytest.approx(found.certainty.sure(answer("stranger", 0.5)))
    write_catalogue(tmp_path / "catalogue.parquet", [row(query, "query", instance) for query, instance in list(shown.items())[:30]])
    few = learn_sureness(search, answers, tmp_path, instances)
    assert few.certainty == search_known(search, instances), "with too few queries the database's photographs ask"


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


@pytest.mark.parametrize("seed", range(6))
def test_micro_average_precision_is_the_mean_over_all_orders_of_equal_scores(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores, right = draw.integers(0, 3, 6).tolist(), draw.integers(0, 2, 6).astype(bool).tolist()

    def average(order: Sequence[int]) -> float:
        """Of one order, in a loop."""
        found, total = 0, 0.0
        for place, answer in enumerate(order, 1):
            if right[answer]:
                found += 1
                total += found / place
        return total / 7

    orders = [order for order in itertools.permutations(range(6)) if all(scores[one] >= scores[two] for one, two in itertools.pairwise(order))]
    assert micro_average_precision(scores, right, 7) == pytest.approx(np.mean([average(order) for order in orders]))


def test_held_out_photographs_of_known_instances_are_not_unknown(tmp_path: Path) -> None:
    rows = [row(f"database{place}", "database", f"piece{place // 2}") for place in range(6)]
    rows += [row(f"held_out{place}", "held_out", f"piece{place}") for place in range(6)]
    write_catalogue(tmp_path / "catalogue.parquet", rows)
    own = folder_of(tmp_path / "own", {"database": unit(6, 1), "held_out": unit(6, 2)})
    search = DescriptorSearch(own, own, 6, SearchParameters(top_k=6, accept_unknown=0.5), torch.device("cpu"))
    instances = known_instances(tmp_path)
    assert instances == {f"database{place}": f"piece{place // 2}" for place in range(6)}
    unknown = search_unknown(search, tmp_path, instances)
    best = (unit(6, 2)[3:] @ unit(6, 1).T).max(axis=1)
    np.testing.assert_allclose(unknown.scores, np.sort(best), atol=1e-5)
    path = tmp_path / "answers.parquet"
    answers = [answer("q1", 2.0, "piece0"), answer("q2", -2.0, "piece1"), answer("q3", 3.0, "piece1")]
    write_answers(path, answers, unknown, Sureness(None, {}))
    file = open_table(path, "answers")
    assert table_facts(file)["threshold"] == unknown.threshold
    assert [entry["known"] for entry in file.read().to_pylist()] == [True, False, True]
    found, bins = score_answers(path, {"q1": "piece0", "q2": "piece0", "q3": "piece1", "q4": "piece2"})
    assert found is not None
    assert found.correct == pytest.approx(2 / 4)
    assert found.accepted == pytest.approx(2 / 4)
    assert found.micro_ap == pytest.approx((1 + 1) / 4), "q3 and q1 come first and are right; q4 shows an instance and has no answer"
    few, _ = score_answers(path, {"q1": "piece0"})
    assert few is not None
    assert few.micro_ap == pytest.approx(1 / 2), "the answer to q3, which shows nothing known, comes before"
    assert found.correct_of_accepted == 1
    assert found.unknown_learned_on == 3
    assert (found.unknown_needed, found.calibration_error, bins) == (1, None, [])
    assert score_answers(path, {}) == (None, [])


def test_queries_without_another_photograph_of_their_instance_are_left_out() -> None:
    rows = [row("a1", "database", "a"), row("a2", "database", "a"), row("b1", "database", "b"), row("q", "query", "b"), row("r", "query", "c")]
    truth = GroundTruth("instances", ("a1", "b1", "q", "r"), ())
    assert shown_by_queries(rows, truth) == {"a1": "a", "q": "b"}


def test_what_nothing_learned_from_calibrates_first_then_distractors_then_what_was_learned_from(tmp_path: Path) -> None:
    rows = [row(f"database{place}", "database", "piece") for place in range(6)]
    write_catalogue(tmp_path / "catalogue.parquet", rows)
    own = folder_of(tmp_path / "own", {"database": unit(6, 1), "held_out": unit(30, 2), "kept_back": unit(25, 3)})
    less = folder_of(tmp_path / "less", {"database": unit(6, 1), "held_out": unit(30, 2)})
    mixed_in = folder_of(tmp_path / "mixed", {"distractors": unit(40, 4)})
    instances = known_instances(tmp_path)

    def best(count: int, seed: int) -> np.ndarray:
        return np.sort((unit(count, seed) @ unit(6, 1).T).max(axis=1))

    for folder, distractors, expected, learned in (
        (own, 40, best(25, 3), False),
        (less, 40, best(40, 4), False),
        (less, 0, best(30, 2), True),
    ):
        search = DescriptorSearch(folder, mixed_in, 6, SearchParameters(top_k=6), torch.device("cpu"))
        unknown = search_unknown(search, tmp_path, instances, distractors, learned=True)
        np.testing.assert_allclose(unknown.scores, expected, atol=1e-5)
        assert unknown.learned == learned
        assert any("set benchmarks.mine.kept_back" in line for line in doubts("mine", unknown)) == learned
