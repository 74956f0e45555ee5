"""Measures of the first results against plain loops over every order that ties allow."""

import itertools

import numpy as np
import pytest

from pipeline.contracts.protocols import PROTOCOLS
from pipeline.evaluation.average_precision import TieGroups, tie_groups
from pipeline.evaluation.cut_off import average_precision_at, found_at
from pipeline.evaluation.protocols import Label, Ranks, evaluate, score_query


def orders(scores: list[int]) -> list[tuple[int, ...]]:
    """Every order of the places that sorts the scores, best first."""
    tied = [[place for place, score in enumerate(scores) if score == value] for value in sorted(set(scores), reverse=True)]
    return [tuple(itertools.chain(*each)) for each in itertools.product(*(itertools.permutations(own) for own in tied))]


def plain_average_precision_at(order: tuple[int, ...], positives: set[int], missing: int, k: int) -> float:
    total, found = 0.0, 0
    for rank, place in enumerate(order[:k], 1):
        if place in positives:
            found += 1
            total += found / rank
    return total / min(k, len(positives) + missing)


def groups_of(scores: list[int], positives: set[int]) -> TieGroups:
    own = np.array([scores[place] for place in sorted(positives)], np.float32)
    above, equal = (np.array([sum(compare(other, score) for other in scores) for score in own]) for compare in (np.greater, np.equal))
    return tie_groups(own, above, equal, np.ones(len(own), bool))


@pytest.mark.parametrize("seed", range(12))
def test_ties_are_averaged_over_their_orders(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, 4, 7).tolist()
    positives, missing = set(draw.choice(7, draw.integers(1, 5), replace=False).tolist()), int(draw.integers(0, 3))
    every, groups = orders(scores), groups_of(scores, positives)
    for k in (1, 2, 4, 7, 100):
        expected = np.mean([plain_average_precision_at(order, positives, missing, k) for order in every])
        assert average_precision_at(groups, len(positives) + missing, k) == pytest.approx(expected)
        assert found_at(groups, k) == pytest.approx(np.mean([bool(positives & set(order[:k])) for order in every]))


def test_more_positives_than_results_are_not_missed() -> None:
    perfect = groups_of(list(range(9, 0, -1)), {0, 1, 2, 3})
    assert average_precision_at(perfect, 4, 2) == 1
    assert average_precision_at(perfect, 4, 100) == 1
    with pytest.raises(ValueError, match="needs a positive"):
        average_precision_at(perfect, 0, 10)


def test_nothing_in_the_database_is_nothing_found() -> None:
    none = TieGroups(*(np.zeros(0, np.int64) for _ in range(4)))
    assert found_at(none, 10) == average_precision_at(none, 3, 10) == 0


def test_a_protocol_reports_them_by_number_of_results() -> None:
    labels = [Label("a", "good", 0.9, 1, 1), Label("b", "good", 0.5, 4, 1)]
    result = score_query("q", labels, PROTOCOLS["products"][""], 10, Ranks(map=(2, 5), found=(1, 2)))
    assert result is not None
    numbers = evaluate([result], "products", "plain")
    assert [numbers["map_at_2"], numbers["map_at_5"]] == pytest.approx([1 / 2 / 2, (1 / 2 + 2 / 5) / 2])
    assert (numbers["found_at_1"], numbers["found_at_2"]) == (0, 1)
