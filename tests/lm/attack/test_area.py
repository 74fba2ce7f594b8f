"""Areas between curves of which they are known."""

from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.attacks.results import Area, Worst, area, savings, share

STEPS = (0, 2, 6)
GOLD = (4.0, 3.0, 1.0)
VALUES = st.tuples(*[st.floats(-9, 9)] * len(STEPS))


def loss(*values: float) -> Worst:
    return Worst(STEPS, values, lower_is_worse=True)


def accuracy(*values: float) -> Worst:
    return Worst(STEPS, values, lower_is_worse=False)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (GOLD, Area(0, 0)),
        ((3.0, 2.0, 0.0), Area(6, 0)),  # one below, for six steps
        ((5.0, 4.0, 2.0), Area(0, 6)),
        ((2.0, 3.0, 1.0), Area(2, 0)),  # a triangle of height 2 over two steps
        ((4.0, 3.0, 3.0), Area(0, 4)),
        ((3.0, 4.0, 1.0), Area(0.5, 0.5 + 2)),  # crosses at step 1
        ((4.0, 6.0, 0.0), Area(0.5, 3 + 4.5)),  # crosses at three quarters of the way
    ],
)
def test_areas_of_hand_made_curves(values: tuple[float, ...], expected: Area) -> None:
    assert area(loss(*values), loss(*GOLD)) == pytest.approx(expected)
    # of an accuracy the same curves mean the opposite
    assert area(accuracy(*values), accuracy(*GOLD)) == pytest.approx(expected[::-1])


@settings(deadline=None)
@given(VALUES, VALUES)
def test_areas_are_the_integrals_of_straight_lines(
    values: tuple[float, ...], gold: tuple[float, ...]
) -> None:
    found = area(accuracy(*values), accuracy(*gold))
    at = np.linspace(0, 6, 6001)
    lead = np.interp(at, STEPS, values) - np.interp(at, STEPS, gold)
    assert found.ahead == pytest.approx(np.trapezoid(lead.clip(min=0), at), abs=1e-4)
    assert found.behind == pytest.approx(np.trapezoid((-lead).clip(min=0), at), abs=1e-4)
    under, under_gold = np.trapezoid(values, STEPS), np.trapezoid(gold, STEPS)
    assert found.signed == pytest.approx(under - under_gold, abs=1e-9)
    assert found.between == pytest.approx(found.ahead + found.behind)
    assert savings(accuracy(*values), accuracy(*gold)) == found.signed
    assert savings(loss(*values), loss(*gold)) == pytest.approx(-found.signed)


def test_what_is_not_finite_has_no_area() -> None:
    for values in ((nan, 1.0, 1.0), (4.0, 3.0, nan), (4.0, inf, 1.0), (nan, nan, -1.0)):
        for pair in ((loss(*values), loss(*GOLD)), (loss(*GOLD), loss(*values))):
            assert all(map(isnan, area(*pair)))
            assert isnan(savings(*pair))
            assert isnan(share(*pair, base=loss(1.0, 1.0, 1.0)))


def test_the_share_tells_gold_from_base() -> None:
    gold, base = loss(4.0, 4.0, 4.0), loss(2.0, 2.0, 2.0)
    assert share(gold, gold, base) == 0
    assert share(base, gold, base) == 1
    assert share(loss(3.5, 3.5, 3.5), gold, base) == 0.25
    assert share(accuracy(0.5, 0.5, 0.5), accuracy(0, 0, 0), accuracy(1, 1, 1)) == 0.5


def test_the_share_of_a_model_that_is_behind_gold_depends_on_the_part() -> None:
    gold, base, broken = loss(4.0, 4.0, 4.0), loss(2.0, 2.0, 2.0), loss(7.0, 4.0, 4.0)
    assert share(broken, gold, base) == pytest.approx(3 / 12)
    assert share(broken, gold, base, "ahead") == 0
    assert share(broken, gold, base, "signed") == pytest.approx(-3 / 12)


@pytest.mark.parametrize("base", [GOLD, (4.5, 3.5, 1.5), (3.0, 4.0, 1.0)])
def test_there_is_no_share_of_a_base_that_knew_nothing(base: tuple[float, ...]) -> None:
    value = share(loss(1.0, 1.0, 1.0), loss(*GOLD), loss(*base))
    assert isnan(value)


def test_only_curves_of_one_kind_are_compared() -> None:
    for other in (accuracy(*GOLD), Worst((0, 1, 2), GOLD, lower_is_worse=True)):
        with pytest.raises(ValueError, match="of the same steps"):
            area(loss(*GOLD), other)
