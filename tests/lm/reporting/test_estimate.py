"""Means and differences over seeds, with intervals that are known."""

from math import isnan

from hypothesis import given, settings
from hypothesis import strategies as st

from lm.statistics import apart, difference, estimate, ratio

values = st.lists(st.floats(-10, 10), min_size=2, max_size=6)


def test_the_bootstrap_of_two_values_reaches_from_one_to_the_other() -> None:
    # a quarter of the resamples has the lower twice, and a quarter the higher
    assert estimate([1.0, 3.0]) == (2.0, 1.0, 3.0, 2)


def test_one_seed_has_no_interval_and_none_no_value() -> None:
    value, low, high, seeds = estimate([1.5])
    assert (value, seeds) == (1.5, 1)
    assert isnan(low)
    assert isnan(high)
    assert isnan(estimate([]).value)
    assert estimate([float("nan")]).seeds == 0


@settings(deadline=None, max_examples=50)
@given(values)
def test_the_interval_holds_the_mean_and_lies_between_the_extremes(sample: list[float]) -> None:
    mean = estimate(sample)
    slack = 1e-9
    assert min(sample) - slack <= mean.low <= mean.value + slack
    assert mean.value - slack <= mean.high <= max(sample) + slack


def test_a_difference_pairs_seeds_so_that_what_they_share_cancels() -> None:
    one, other = {0: 1.0, 1: 5.0, 2: 9.0, 7: 0.0}, {2: 8.5, 1: 4.5, 0: 0.5}
    assert difference(one, other) == (0.5, 0.5, 0.5, 3)
    assert apart(difference(one, other))
    assert difference({0: 1.0}, {1: 1.0}).seeds == 0


def test_a_lead_takes_three_seeds_and_an_interval_beside_zero() -> None:
    zero = dict.fromkeys(range(3), 0.0)
    assert not apart(difference({0: 1.0, 1: 1.0}, zero))
    assert apart(difference({0: -1.0, 1: -1.1, 2: -0.9}, zero))
    assert not apart(difference({0: 1.0, 1: 1.1, 2: -0.9}, zero))


def test_a_ratio_is_less_one_and_needs_something_below() -> None:
    assert ratio({0: 1.1, 1: 2.0}, {0: 1.0, 1: 0.0}).seeds == 1
    assert round(ratio({0: 1.1}, {0: 1.0}).value, 9) == 0.1
