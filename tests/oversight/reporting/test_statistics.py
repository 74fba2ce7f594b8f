"""The statistics against hand computations, enumeration and brute force."""

from itertools import product
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversight.runs import statistics

SCORES = st.lists(st.floats(-1, 1), min_size=1, max_size=12)


def by_hand(scores: list[float]) -> float:
    """Return the IQM by its definition."""
    cut = len(scores) // 4
    middle = sorted(scores)[cut : len(scores) - cut]
    return sum(middle) / len(middle)


@given(SCORES)
def test_the_iqm_is_the_mean_of_the_middle_half(scores: list[float]) -> None:
    assert float(statistics.iqm(scores)) == pytest.approx(by_hand(scores), abs=1e-12)


def test_an_interval_is_that_of_all_possible_resamples() -> None:
    sample = np.array([0.1, 0.2, 0.4, 0.8, 0.9])
    every = [by_hand(list(drawn)) for drawn in product(sample.tolist(), repeat=5)]
    low, high = np.percentile(every, [2.5, 97.5])
    found = statistics.interval([sample])
    assert found.value == pytest.approx((0.2 + 0.4 + 0.8) / 3)
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)


def test_strata_are_pooled_and_never_mixed() -> None:
    found = statistics.interval([np.full(4, 0.0), np.full(4, 1.0)])
    assert found[:3] == (0.5, 0.5, 0.5)  # a resample over both would draw unequal numbers


def test_a_single_seed_has_a_value_and_no_interval() -> None:
    found = statistics.interval([np.array([0.3])])
    assert (found.value, found.seeds, found.known) == (0.3, 1, False)
    assert statistics.interval([]) == statistics.UNKNOWN or isnan(statistics.interval([]).value)


@given(SCORES, SCORES)
def test_improvement_counts_pairs(ones: list[float], others: list[float]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in ones for b in others]
    one, other = np.array(ones), np.array(others)
    found = float(statistics._wins(one, other))
    assert found == pytest.approx(sum(pairs) / len(pairs))


def test_improvement_weighs_every_stratum_the_same() -> None:
    wins, loses = (np.array([1.0, 1.0]), np.zeros(3)), (np.zeros(8), np.ones(8))
    found = statistics.improvement([wins[0], loses[0]], [wins[1], loses[1]])
    assert found[:3] == (0.5, 0.5, 0.5)


def test_a_paired_difference_knows_that_runs_are_the_same() -> None:
    one = np.array([0.1, 0.5, 0.9, 0.3])
    paired = statistics.paired_difference(one + 0.1, one)
    assert paired[:3] == pytest.approx((0.1, 0.1, 0.1))
    apart = statistics.difference(one + 0.1, one)
    assert apart.value == pytest.approx(0.1)
    assert apart.low < 0 < apart.high


def test_an_interval_is_the_same_whatever_was_computed_before() -> None:
    sample = np.array([0.1, 0.2, 0.4, 0.8])
    first = statistics.interval([sample])
    statistics.interval([np.array([3.0, 4.0])])
    assert statistics.interval([sample]) == first
