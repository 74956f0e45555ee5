"""Average precision against published check values, a transcription of the rule, and brute force over ties."""

import itertools
import random

import numpy as np
import pytest

import pipeline.evaluation.average_precision as average_precision_module
from pipeline.evaluation.average_precision import RULES, TieGroups, average_precision, chance_level, tie_groups, tied_average_precision


def plain_trapezoid(ranking: list[int], positives: set[int], junk: set[int]) -> float:
    """compute_ap of the Oxford buildings' evaluation, line by line."""
    old_recall, old_precision, ap, hits, seen = 0.0, 1.0, 0.0, 0, 0
    for item in ranking:
        if item in junk:
            continue
        hits += item in positives
        recall, precision = hits / len(positives), hits / (seen + 1)
        ap += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
        seen += 1
    return ap


def test_check_values() -> None:
    ranking = [3, 1, 7, 5, 2, 9, 4, 8, 6, 10, 12, 11]
    assert average_precision(ranking, {1, 5, 9, 11}, {3, 7}) == pytest.approx(0.76875)
    assert average_precision(ranking, {1, 5, 9, 11}, {3, 7}, rule="plain") == pytest.approx(0.7875)
    backwards = list(range(12, 0, -1))
    assert average_precision(backwards, {8, 1}, {12, 5}) == pytest.approx(0.1402777778)
    assert average_precision(backwards, {8, 1}, {12, 5}, rule="plain") == pytest.approx(0.2250)


def test_the_trapezoid_rule_is_the_published_program() -> None:
    generator = random.Random(1)
    for _ in range(50):
        items = list(range(30))
        generator.shuffle(items)
        positives, junk = set(items[:7]), set(items[7:11])
        generator.shuffle(items)
        assert average_precision(items, positives, junk) == pytest.approx(plain_trapezoid(items, positives, junk))


def test_positives_that_were_not_found_count() -> None:
    assert average_precision([1, 2], {1, 99}, rule="plain") == pytest.approx(0.5)


def test_no_positives_and_unknown_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="without positives"):
        average_precision([1, 2], [])
    with pytest.raises(ValueError, match="trapezoid, plain"):
        average_precision([1, 2], [1], rule="interpolated")


@pytest.mark.parametrize("rule", ["trapezoid", "plain"])
@pytest.mark.parametrize("seed", range(6))
def test_ties_give_the_mean_over_all_orders(rule: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 3, 7).astype(np.float32)
    kinds = ["positive", "positive", "junk", "negative", "negative", "positive", "negative"]
    orders = [order for order in itertools.permutations(range(7)) if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))]
    positives, junk = {i for i, kind in enumerate(kinds) if kind == "positive"}, {2}
    expected = np.mean([average_precision(order, positives, junk, rule) for order in orders])
    labelled = [i for i, kind in enumerate(kinds) if kind != "negative"]
    above = np.array([(scores > scores[i]).sum() for i in labelled])
    equal = np.array([(scores == scores[i]).sum() for i in labelled])
    groups = tie_groups(scores[labelled], above, equal, np.array([i in positives for i in labelled]))
    assert tied_average_precision(groups, 3, rule) == pytest.approx(expected, abs=1e-12)


def test_chance_level_is_what_random_orders_score() -> None:
    generator = random.Random(0)
    scores = []
    for _ in range(4000):
        items = list(range(40))
        generator.shuffle(items)
        scores.append(average_precision(items, {0, 1, 2}))
    assert chance_level(40, 3, "trapezoid") == pytest.approx(np.mean(scores), abs=0.01)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("before", "found", "positives"), [(0, 0, 1), (0, 0, 700), (1, 1, 3), (123456, 17, 1), (10**7, 5, 2000)])
def test_the_closed_form_of_a_large_tie_is_the_sum_of_its_terms(
    monkeypatch: pytest.MonkeyPatch, before: int, found: int, positives: int, rule: str
) -> None:
    group = TieGroups(*(np.array([value], np.int64) for value in (before, 50000, found, positives)))
    closed = tied_average_precision(group, 4000, rule)
    monkeypatch.setattr(average_precision_module, "LARGE", 10**9)
    assert closed == pytest.approx(tied_average_precision(group, 4000, rule), rel=1e-9)
