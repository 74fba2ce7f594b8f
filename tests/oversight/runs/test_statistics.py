"""The statistics against hand computations, enumeration and brute force."""

from itertools import product
from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversight.runs import statistics
from oversight.runs.statistics import (
    difference_by_seed,
    estimate,
    is_significant,
    relative_change_by_seed,
)

SCORES = st.lists(st.floats(-1, 1), min_size=1, max_size=12)


def by_hand(scores: list[float]) -> float:
    """Return the IQM by its definition."""
    cut = len(scores) // 4
    middle = sorted(scores)[cut : len(scores) - cut]
    return sum(middle) / len(middle)


@given(SCORES)
def test_iqm_is_the_mean_of_the_middle_half(scores: list[float]) -> None:
    assert float(statistics.iqm(scores)) == pytest.approx(by_hand(scores), abs=1e-12)


def test_interval_equals_the_enumeration_of_all_resamples() -> None:
    sample = np.array([0.1, 0.2, 0.4, 0.8, 0.9])
    every = [by_hand(list(drawn)) for drawn in product(sample.tolist(), repeat=5)]
    low, high = np.percentile(every, [2.5, 97.5])
    estimated = statistics.interval([sample])
    assert estimated.value == pytest.approx((0.2 + 0.4 + 0.8) / 3)
    assert estimated.low == pytest.approx(low, abs=0.03)
    assert estimated.high == pytest.approx(high, abs=0.03)


def test_interval_resamples_within_each_stratum() -> None:
    estimated = statistics.interval([np.full(4, 0.0), np.full(4, 1.0)])
    assert estimated[:3] == (0.5, 0.5, 0.5)  # a resample over both would draw unequal numbers


def test_interval_is_undefined_for_a_single_seed() -> None:
    estimated = statistics.interval([np.array([0.3])])
    assert (estimated.value, estimated.seeds, estimated.known) == (0.3, 1, False)
    assert isnan(statistics.interval([]).value)


@given(SCORES, SCORES)
def test_probability_of_improvement_counts_a_tie_as_half(
    ones: list[float], others: list[float]
) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in ones for b in others]
    one, other = np.array(ones), np.array(others)
    share = float(statistics._share_of_wins(one, other))
    assert share == pytest.approx(sum(pairs) / len(pairs))


def test_probability_of_improvement_weighs_strata_equally() -> None:
    wins, loses = (np.array([1.0, 1.0]), np.zeros(3)), (np.zeros(8), np.ones(8))
    estimated = statistics.improvement([wins[0], loses[0]], [wins[1], loses[1]])
    assert estimated[:3] == (0.5, 0.5, 0.5)


def test_paired_difference_has_zero_width_when_all_pairs_differ_equally() -> None:
    one = np.array([0.1, 0.5, 0.9, 0.3])
    paired = statistics.paired_difference(one + 0.1, one)
    assert paired[:3] == pytest.approx((0.1, 0.1, 0.1))
    unpaired = statistics.difference(one + 0.1, one)
    assert unpaired.value == pytest.approx(0.1)
    assert unpaired.low < 0 < unpaired.high


def test_interval_does_not_depend_on_earlier_computations() -> None:
    sample = np.array([0.1, 0.2, 0.4, 0.8])
    first = statistics.interval([sample])
    statistics.interval([np.array([3.0, 4.0])])
    assert statistics.interval([sample]) == first


def test_estimate_of_two_values_spans_both() -> None:
    # a quarter of the resamples has the lower value twice, and a quarter the higher
    assert estimate([1.0, 3.0]) == (2.0, 1.0, 3.0, 2)


def test_estimate_ignores_values_that_are_not_finite() -> None:
    value, low, high, seeds = estimate([1.5, float("nan")])
    assert (value, seeds) == (1.5, 1)
    assert isnan(low)
    assert isnan(high)
    assert isnan(estimate([]).value)
    assert estimate([float("nan")]).seeds == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=6))
def test_estimate_contains_the_mean_and_lies_within_the_extremes(sample: list[float]) -> None:
    mean = estimate(sample)
    slack = 1e-9
    assert min(sample) - slack <= mean.low <= mean.value + slack
    assert mean.value - slack <= mean.high <= max(sample) + slack


def test_difference_by_seed_cancels_seed_effects() -> None:
    one, other = {0: 1.0, 1: 5.0, 2: 9.0, 7: 0.0}, {2: 8.5, 1: 4.5, 0: 0.5}
    assert difference_by_seed(one, other) == (0.5, 0.5, 0.5, 3)
    assert is_significant(difference_by_seed(one, other))
    assert difference_by_seed({0: 1.0}, {1: 1.0}).seeds == 0


def test_difference_is_significant_from_three_seeds_when_the_interval_excludes_zero() -> None:
    zero = dict.fromkeys(range(3), 0.0)
    assert not is_significant(difference_by_seed({0: 1.0, 1: 1.0}, zero))
    assert is_significant(difference_by_seed({0: -1.0, 1: -1.1, 2: -0.9}, zero))
    assert not is_significant(difference_by_seed({0: 1.0, 1: 1.1, 2: -0.9}, zero))


def test_relative_change_ignores_seeds_with_a_zero_baseline() -> None:
    assert relative_change_by_seed({0: 1.1, 1: 2.0}, {0: 1.0, 1: 0.0}).seeds == 1
    assert round(relative_change_by_seed({0: 1.1}, {0: 1.0}).value, 9) == 0.1
