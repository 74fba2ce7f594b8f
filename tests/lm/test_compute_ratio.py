"""Tests of the compute ratio on curves of known laws, and on curves that are none."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.compute_ratio import CAP, MIN_POINTS, fit_curve, fit_power_law

STEPS = [round(800 * (k / 23) ** 2) for k in range(24)]
Law = tuple[float, float, float, float]

LAWS = st.tuples(
    st.floats(0.0, 1.0), st.floats(0.5, 9.0), st.floats(5.0, 800.0), st.floats(0.2, 3.0)
)
"""Floor, height, offset and exponent."""


def loss(law: Law, step: float) -> float:
    """Return `a + b (s + c)^-d`, where b c^-d is the height of the curve above its floor."""
    floor, height, offset, exponent = law
    return float(floor + height * ((step + offset) / offset) ** -exponent)


def points(law: Law) -> dict[int, float]:
    return {step: loss(law, step) for step in STEPS}


@settings(deadline=None, max_examples=40)
@given(LAWS, st.floats(0.0, 1.5))
def test_ratio_on_a_curve_of_a_known_law_is_the_share_of_steps(law: Law, share: float) -> None:
    found = fit_curve(points(law)).ratio(loss(law, 800 * share))
    assert found.value == pytest.approx(share, abs=1e-6)
    assert not found.capped


def test_fit_returns_the_parameters_of_the_law() -> None:
    steps = np.array(STEPS, np.float64)
    fitted = fit_power_law(steps, np.array([loss((0.4, 8.0, 30.0, 1.0), s) for s in STEPS]))
    assert tuple(fitted) == pytest.approx((0.4, 8.0, 30.0, 1.0), rel=1e-8)
    assert fitted.loss(np.array([0.0, 30.0])) == pytest.approx([8.4, 4.4])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.1, 9.0), min_size=4, max_size=24), st.floats(0, 10), st.floats(0, 10))
def test_ratio_never_rises_with_the_loss_on_any_curve(
    between: list[float], one: float, other: float
) -> None:
    curve = fit_curve(dict(enumerate([9.5, *between, 0.05])))
    low, high = sorted((one, other))
    assert 0 <= curve.ratio(high).value <= curve.ratio(low).value <= CAP


def test_ratio_is_0_from_the_first_loss_on_and_1_at_the_last() -> None:
    facts_arrive_late = [8.0, 3.0, 1.5, 1.2, 1.1, 1.1, 1.0, 0.7, 0.51, 0.5]
    curve = fit_curve(dict(zip(range(0, 1000, 100), facts_arrive_late, strict=True)))
    assert [curve.ratio(each).value for each in (9.0, 8.0)] == [0, 0]
    assert curve.ratio(0.5).value == 1
    assert curve.steps_to(0.5) == pytest.approx(900)
    for step, each in ((100, 3.0), (300, 1.2), (700, 0.7)):
        assert curve.steps_to(each) == pytest.approx(step)
    assert curve.steps_to(1.1) == pytest.approx(450)  # two points of one loss are one of their mean
    assert 600 < curve.steps_to(0.85) < 700


def test_ratio_of_the_baseline_is_1_even_if_its_loss_rises_in_the_end() -> None:
    curve = fit_curve(dict(enumerate([8.0, 4.0, 2.0, 1.0, 0.8, 0.82])))
    assert curve.ratio(0.82).value == 1
    assert 1 < curve.ratio(0.8).value < CAP


def test_losses_below_a_curve_that_is_no_power_law_continue_its_last_doubling() -> None:
    facts_arrive_late = [8.0, 3.0, 1.5, 1.2, 1.1, 1.0, 0.9, 0.8, 0.7]
    curve = fit_curve(dict(zip(range(0, 900, 100), facts_arrive_late, strict=True)))
    assert curve.per_e_fold == pytest.approx(0.4 / np.log(2))  # 1.1 after 400 steps, 0.7 after 800
    assert curve.ratio(0.7).value == 1
    assert curve.ratio(0.6).value == pytest.approx(2**0.25)
    assert curve.ratio(0.5).value == pytest.approx(2**0.5)
    assert not curve.ratio(0.31).capped
    assert curve.ratio(0.29) == (CAP, True)
    flat = fit_curve(dict(zip(range(0, 600, 100), [8.0, 3.0, 0.7, 0.6, 0.6, 0.6], strict=True)))
    assert flat.ratio(0.6).value == 1
    assert flat.ratio(0.59).value == pytest.approx(2**0.2)  # 0.65 after 250 steps
    constant = fit_curve(dict(zip(range(0, 700, 100), [8.0, 3.0, 0.9, *[0.6] * 4], strict=True)))
    assert constant.ratio(0.6).value == 1
    assert constant.ratio(0.59) == (CAP, True)


def test_ratio_of_a_much_lower_loss_is_capped_and_says_so() -> None:
    curve = fit_curve(points((0.4, 8.0, 30.0, 1.0)))
    assert curve.ratio(loss((0.4, 8.0, 30.0, 1.0), 1599)).value == pytest.approx(1599 / 800)
    for low in (loss((0.4, 8.0, 30.0, 1.0), 1601), 0.4, 0.1, 0.0):
        assert curve.ratio(low) == (CAP, True)


@pytest.mark.parametrize("unknown", [nan, float("inf")])
def test_ratio_of_an_unknown_loss_is_unknown(unknown: float) -> None:
    found = fit_curve(points((0.4, 8.0, 30.0, 1.0))).ratio(unknown)
    assert isnan(found.value)
    assert not found.capped


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([], "curve of 0 points .* needs 5 or more"),
        ([8.0, 4.0, 2.0, 1.0], "curve of 4 points .* so train for more steps"),
        ([8.0, 4.0, nan, 1.0, 0.5], "positive losses that fall"),
        ([8.0, 4.0, 2.0, 1.0, 0.0], "from 8 to 0 was given"),
        ([1.0, 1.0, 1.0, 1.0, 1.0], "from 1 to 1 was given"),
        ([1.0, 0.5, 2.0, 3.0, 4.0], "from 1 to 4 was given"),
    ],
)
def test_curve_that_cannot_be_fitted_is_refused(losses: list[float], message: str) -> None:
    assert MIN_POINTS == 5
    with pytest.raises(ValueError, match=message):
        fit_curve(dict(enumerate(losses)))
