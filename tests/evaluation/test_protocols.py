"""Protocols: what counts as positive and junk, precision, recall and the UKBench score."""

import numpy as np
import pytest

from pipeline.contracts.protocols import PROTOCOLS
from pipeline.evaluation.average_precision import average_precision
from pipeline.evaluation.curves import RECALLS, mean_curve
from pipeline.evaluation.protocols import Label, QueryResult, Ranks, evaluate, precision_at, score_query, ukbench_score
from pipeline.stage.errors import SanityError


def labels_of(ranking: list[str], relevance: dict[str, str]) -> list[Label]:
    """Labels with the counts that a search of this ranking gives; what is not ranked is not in the database."""
    places = {image: place for place, image in enumerate(ranking)}
    return [
        Label(image, kind, -float(places[image]), places[image], 1) if image in places else Label(image, kind) for image, kind in relevance.items()
    ]


def scored(ranking: list[str], relevance: dict[str, str], protocol: str = "oxford", setting: str = "") -> QueryResult:
    result = score_query("q", labels_of(ranking, relevance), PROTOCOLS[protocol][setting], len(ranking), Ranks((1, 2, 10), (1, 4)))
    assert result is not None
    return result


def test_oxford_counts_good_and_ok_and_removes_junk() -> None:
    result = scored(list("jaxby"), {"a": "good", "b": "ok", "j": "junk"})
    assert result.average_precision["trapezoid"] == pytest.approx(average_precision("jaxby", "ab", "j"))
    assert result.precision[1] == 1.0
    assert result.precision[2] == 0.5
    assert result.first == 0


def test_revisited_settings() -> None:
    relevance = {"e": "easy", "h": "hard", "j": "junk"}
    ranking = list("hxjye")
    expected = {"easy": ("e", "hj"), "medium": ("eh", "j"), "hard": ("h", "ej")}
    for setting, (positives, junk) in expected.items():
        result = scored(ranking, relevance, "revisited", setting)
        assert result.average_precision["trapezoid"] == pytest.approx(average_precision("hxjye", positives, junk)), setting


def test_revisited_precision_divides_by_the_last_positive_rank() -> None:
    """mP@10 with positives at ranks 1 and 3 (from 1) divides by 3."""
    result = scored(list("axbyyyyyyyyyyy"[:3] + "defghijklmno"), {"a": "easy", "b": "easy"}, "revisited", "easy")
    assert result.precision[10] == pytest.approx(2 / 3)


def test_a_query_without_positives_is_left_out() -> None:
    assert score_query("q", labels_of(["a"], {"a": "hard"}), PROTOCOLS["revisited"]["easy"], 1) is None
    with pytest.raises(SanityError, match="no query has a positive"):
        evaluate([], "revisited", "trapezoid")


def test_positives_missing_from_the_database_score_nothing() -> None:
    result = scored(["a", "b"], {"a": "good", "gone": "good"})
    assert result.average_precision["plain"] == pytest.approx(0.5)
    assert result.recall[4] == pytest.approx(0.5)
    none_found = scored(["b"], {"gone": "good"})
    assert none_found.average_precision["trapezoid"] == 0
    assert none_found.first is None


def test_ukbench_score_counts_the_first_four() -> None:
    group = dict.fromkeys("abcd", "good")
    results = [scored(list("abxcd"), group), scored(list("abcdx"), group)]
    assert ukbench_score(results) == pytest.approx(3.5)
    numbers = evaluate(results, "ukbench", "trapezoid")
    assert numbers["ukbench_percent"] == pytest.approx(87.5)


def test_both_rules_are_reported_and_map_follows_the_parameter() -> None:
    results = [scored(list("xaby"), {"a": "good", "b": "good"})]
    numbers = evaluate(results, "instances", "plain")
    assert numbers["map"] == numbers["map_plain"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert numbers["map_trapezoid"] == pytest.approx(average_precision("xaby", "ab"))
    assert precision_at(results, 1) == 0


def test_ties_share_the_first_place() -> None:
    labels = [Label("a", "good", 1.0, 0, 4)]
    result = score_query("q", labels, PROTOCOLS["oxford"][""], 10, Ranks((1, 2)))
    assert result is not None
    assert result.precision[1] == pytest.approx(0.25)


def test_curve_is_the_interpolated_precision() -> None:
    curve = mean_curve([scored(list("xaby"), {"a": "good", "b": "good"})])
    np.testing.assert_allclose(curve, 2 / 3)
    with_miss = mean_curve([scored(list("axb"), {"a": "good", "b": "good", "gone": "good"})])
    np.testing.assert_allclose(with_miss[RECALLS <= 1 / 3], 1.0)
    assert with_miss[-1] == 0
