"""The worst case is the envelope of the grid, and steps to reach a level are exact."""

from math import inf, isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.attacks.relearning import Curve
from lm.attacks.results import (
    Worst,
    curve_from_json,
    curve_to_json,
    steps_to_reach,
    worst,
)

STEPS = (0, 1, 4)
LOSS = Worst((0, 5, 20), (3.0, 2.0, 1.0), lower_is_worse=True)
ACCURACY = Worst((0, 5, 20), (0.25, 0.5, 1.0), lower_is_worse=False)

VALUES = st.tuples(*[st.one_of(st.floats(-9, 9), st.just(nan))] * len(STEPS))
GRIDS = st.dictionaries(
    st.tuples(st.sampled_from([1e-3, 1e-2]), st.sampled_from([4, 16])),
    st.lists(VALUES, min_size=1, max_size=3),
    min_size=1,
)


def curve(*values: float, rate: float = 1e-3, count: int = 4, seed: int = 0) -> Curve:
    return Curve("same", rate, count, STEPS, {"figure": values}, seed)


@settings(deadline=None)
@given(GRIDS, st.booleans())
def test_the_envelope_is_that_of_a_slow_loop(
    grid: dict[tuple[float, int], list[tuple[float, ...]]], lower: bool
) -> None:
    curves = [
        curve(*values, rate=rate, count=count, seed=seed)
        for (rate, count), draws in grid.items()
        for seed, values in enumerate(draws)
    ]
    found = worst(curves, "figure", lower)
    assert (found.steps, found.lower_is_worse) == (STEPS, lower)
    for place, value in enumerate(found.values):
        so_far = [
            sum(values[earlier] for values in draws) / len(draws)
            for draws in grid.values()
            for earlier in range(place + 1)
        ]
        known = [mean for mean in so_far if not isnan(mean)]
        if not known:
            assert isnan(value)
        else:
            assert value == pytest.approx((min if lower else max)(known))


def test_what_was_gained_once_is_kept() -> None:
    curves = [curve(3, 1, 2), curve(3, 2, 1.5, rate=1e-2)]
    assert worst(curves, "figure", lower_is_worse=True).values == (3, 1, 1)
    assert worst(curves, "figure", lower_is_worse=False).values == (3, 3, 3)


def test_draws_are_averaged_and_settings_are_not() -> None:
    lucky = [curve(4, 0, 0, seed=0), curve(4, 4, 4, seed=1), curve(4, 3, 1, rate=1e-2)]
    assert worst(lucky, "figure", lower_is_worse=True).values == (4, 2, 1)


def test_a_diverged_run_gains_nothing() -> None:
    curves = [curve(3, nan, inf), curve(3, 2.5, 2, rate=1e-2)]
    assert worst(curves, "figure", lower_is_worse=True).values == (3, 2.5, 2)


def test_curves_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="0 curves were given"):
        worst([], "figure", lower_is_worse=True)
    for other in (curve(1, 2, 3)._replace(attack="half"), curve(1, 2, 3)._replace(steps=(0, 1, 2))):
        with pytest.raises(ValueError, match="of one attack"):
            worst([curve(1, 2, 3), other], "figure", lower_is_worse=True)
    with pytest.raises(ValueError, match="choose from figure"):
        worst([curve(1, 2, 3)], "loss", lower_is_worse=True)


@pytest.mark.parametrize(
    ("of", "level", "steps"),
    [
        (LOSS, 3.5, 0),
        (LOSS, 3.0, 0),
        (LOSS, 2.9, 5),
        (LOSS, 2.0, 5),
        (LOSS, 1.0, 20),
        (LOSS, 0.9, None),
        (ACCURACY, 0.1, 0),
        (ACCURACY, 0.3, 5),
        (ACCURACY, 1.0, 20),
        (ACCURACY, 1.1, None),
        (Worst((0, 5), (nan, nan), lower_is_worse=True), 1.0, None),
    ],
)
def test_a_level_is_reached_from_the_side_of_its_direction(
    of: Worst, level: float, steps: int | None
) -> None:
    assert steps_to_reach(of, level) == steps


def test_a_level_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="is NaN"):
        steps_to_reach(LOSS, nan)


def test_a_curve_comes_back_from_json_as_it_was() -> None:
    whole = curve(1.5, 2.5, 3.5, seed=3)
    assert curve_from_json(curve_to_json(whole)) == whole
    diverged = curve_from_json(curve_to_json(curve(1.5, nan, inf)))
    assert diverged.values["figure"][0] == 1.5
    assert all(map(isnan, diverged.values["figure"][1:]))
