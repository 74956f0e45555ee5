"""Paired differences against SciPy's resampling, exact small cases, and what they say where nothing differs."""

import numpy as np
import pytest

from pipeline.evaluation.differences import paired_difference


def samples(count: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    before = random.uniform(0, 1, count)
    return before, before + random.normal(shift, 0.1, count)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "shift"), [(40, 0.0), (40, 0.05), (300, 0.01)])
def test_interval_and_p_value_agree_with_scipy(count: int, shift: float) -> None:
    import scipy.stats

    before, after = samples(count, shift)
    ours = paired_difference(before, after)
    assert ours.mean == pytest.approx((after - before).mean())
    theirs = scipy.stats.bootstrap((after - before,), np.mean, n_resamples=10_000, method="percentile", random_state=1).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)
    permuted = scipy.stats.permutation_test(
        (before, after), lambda one, two, axis: (two - one).mean(axis=axis), permutation_type="samples", vectorized=True, n_resamples=9999, rng=1
    )
    assert ours.p_value == pytest.approx(permuted.pvalue, abs=0.015)


def test_few_queries_are_tested_exactly() -> None:
    result = paired_difference([0.1, 0.2, 0.3, 0.9], [0.2, 0.4, 0.6, 0.9])
    assert result.p_value == 2 / 8, "of the eight sign patterns of three differences only all plus and all minus are as far from zero"
    assert (result.queries, result.gained, result.lost) == (4, 3, 0)
    assert result.low > 0
    assert not result.certain, "three queries that gained can be chance, whatever the interval says"


def test_equal_results_differ_by_nothing() -> None:
    result = paired_difference([0.5] * 50, [0.5] * 50)
    assert (result.mean, result.low, result.high, result.p_value, result.certain) == (0, 0, 0, 1, False)


def test_a_clear_gain_is_certain_and_seeds_repeat() -> None:
    before, after = samples(200, 0.2)
    result = paired_difference(before, after)
    assert result.certain
    assert result.low > 0.15
    assert result.p_value < 0.001
    assert paired_difference(before, after) == result
    opposite = paired_difference(after, before)
    assert (opposite.gained, opposite.lost) == (result.lost, result.gained)
    assert opposite.mean == -result.mean


@pytest.mark.parametrize(("before", "after"), [([], []), ([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]])])
def test_what_cannot_be_paired_is_refused(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match="one value per query"):
        paired_difference(before, after)
