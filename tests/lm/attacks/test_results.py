"""Worst cases, areas between curves, and rows of attacks with their JSON."""

from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.attacks.relearning import Curve
from lm.attacks.results import (
    CONTROL,
    FACTS,
    LOSS,
    Area,
    Row,
    WorstCase,
    area,
    curve_from_json,
    intact,
    row_from_json,
    rows_of,
    share,
    steps_to_reach,
    worst_case,
    worst_case_row,
)
from oversight.runs.folder import as_read

STEPS = (0, 1, 4)
LOSS_CURVE = WorstCase((0, 5, 20), (3.0, 2.0, 1.0), lower_is_worse=True)
ACCURACY_CURVE = WorstCase((0, 5, 20), (0.25, 0.5, 1.0), lower_is_worse=False)

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
def test_worst_case_matches_a_slow_reference(
    grid: dict[tuple[float, int], list[tuple[float, ...]]], lower: bool
) -> None:
    curves = [
        curve(*values, rate=rate, count=count, seed=seed)
        for (rate, count), draws in grid.items()
        for seed, values in enumerate(draws)
    ]
    found = worst_case(curves, "figure", lower)
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


def test_worst_case_is_cumulative_over_steps() -> None:
    curves = [curve(3, 1, 2), curve(3, 2, 1.5, rate=1e-2)]
    assert worst_case(curves, "figure", lower_is_worse=True).values == (3, 1, 1)
    assert worst_case(curves, "figure", lower_is_worse=False).values == (3, 3, 3)


def test_step_that_damages_the_model_does_not_count() -> None:
    def attack(losses: tuple[float, ...], retained: tuple[float, ...], **more: float) -> Curve:
        values = {"forget_loss": losses, "mcq_forget": (0.2, 0.5, 1.0), "retain_loss": retained}
        return Curve("same", more.get("rate", 1e-3), 4, STEPS, values)

    mild = attack((3.0, 2.0, 1.5), (0.5, 0.55, 0.54))
    harsh = attack((3.0, 0.1, 1.8), (0.5, 0.56, 0.5), rate=1e-2)
    worst = worst_case([mild, harsh], "forget_loss", lower_is_worse=True)
    assert worst.values == (3.0, 2.0, 1.5)
    rows = rows_of([harsh])
    found = worst_case_row(rows, "same", LOSS)
    assert found is not None
    assert found.value == 1.8
    assert [isnan(row.value) for row in rows if row.setting["step"] == 1] == [True, True]
    adjacent: dict[str, tuple[float, ...]] = {
        "forget_loss": (3.0, 1.0),
        "adjacent_loss": (1.0, 1.2),
    }
    assert isnan(intact(Curve("same", 1e-3, 4, (0, 1), adjacent)).values["forget_loss"][1])
    unmeasured = curve(3, 1, 2)
    assert intact(unmeasured) is unmeasured


def test_worst_case_averages_seeds_but_not_settings() -> None:
    lucky = [curve(4, 0, 0, seed=0), curve(4, 4, 4, seed=1), curve(4, 3, 1, rate=1e-2)]
    assert worst_case(lucky, "figure", lower_is_worse=True).values == (4, 2, 1)


def test_worst_case_ignores_diverged_runs() -> None:
    curves = [curve(3, nan, inf), curve(3, 2.5, 2, rate=1e-2)]
    assert worst_case(curves, "figure", lower_is_worse=True).values == (3, 2.5, 2)


def test_worst_case_refuses_curves_of_different_attacks_or_steps() -> None:
    with pytest.raises(ValueError, match="0 curves were given"):
        worst_case([], "figure", lower_is_worse=True)
    for other in (curve(1, 2, 3)._replace(attack="half"), curve(1, 2, 3)._replace(steps=(0, 1, 2))):
        with pytest.raises(ValueError, match="of one attack"):
            worst_case([curve(1, 2, 3), other], "figure", lower_is_worse=True)
    with pytest.raises(ValueError, match="choose from figure"):
        worst_case([curve(1, 2, 3)], "loss", lower_is_worse=True)


@pytest.mark.parametrize(
    ("of", "level", "steps"),
    [
        (LOSS_CURVE, 3.5, 0),
        (LOSS_CURVE, 3.0, 0),
        (LOSS_CURVE, 2.9, 5),
        (LOSS_CURVE, 2.0, 5),
        (LOSS_CURVE, 1.0, 20),
        (LOSS_CURVE, 0.9, None),
        (ACCURACY_CURVE, 0.1, 0),
        (ACCURACY_CURVE, 0.3, 5),
        (ACCURACY_CURVE, 1.0, 20),
        (ACCURACY_CURVE, 1.1, None),
        (WorstCase((0, 5), (nan, nan), lower_is_worse=True), 1.0, None),
    ],
)
def test_steps_to_reach_returns_the_first_step_at_the_level(
    of: WorstCase, level: float, steps: int | None
) -> None:
    assert steps_to_reach(of, level) == steps


def test_steps_to_reach_refuses_a_nan_level() -> None:
    with pytest.raises(ValueError, match="is NaN"):
        steps_to_reach(LOSS_CURVE, nan)


def test_curve_survives_a_round_trip_through_json() -> None:
    whole = curve(1.5, 2.5, 3.5, seed=3)
    assert curve_from_json(as_read(whole._asdict())) == whole
    diverged = curve_from_json(as_read(curve(1.5, nan, inf)._asdict()))
    assert diverged.values["figure"][0] == 1.5
    assert all(map(isnan, diverged.values["figure"][1:]))


THREE_STEPS = (0, 2, 6)
GOLD = (4.0, 3.0, 1.0)
THREE_VALUES = st.tuples(*[st.floats(-9, 9)] * len(THREE_STEPS))


def loss(*values: float) -> WorstCase:
    return WorstCase(THREE_STEPS, values, lower_is_worse=True)


def accuracy(*values: float) -> WorstCase:
    return WorstCase(THREE_STEPS, values, lower_is_worse=False)


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
def test_area_matches_values_computed_by_hand(values: tuple[float, ...], expected: Area) -> None:
    assert area(loss(*values), loss(*GOLD)) == pytest.approx(expected)
    # of an accuracy the same curves mean the opposite
    assert area(accuracy(*values), accuracy(*GOLD)) == pytest.approx(expected[::-1])


@settings(deadline=None)
@given(THREE_VALUES, THREE_VALUES)
def test_area_integrates_piecewise_linear_curves(
    values: tuple[float, ...], gold: tuple[float, ...]
) -> None:
    found = area(accuracy(*values), accuracy(*gold))
    at = np.linspace(0, 6, 6001)
    lead = np.interp(at, THREE_STEPS, values) - np.interp(at, THREE_STEPS, gold)
    assert found.ahead == pytest.approx(np.trapezoid(lead.clip(min=0), at), abs=1e-4)
    assert found.behind == pytest.approx(np.trapezoid((-lead).clip(min=0), at), abs=1e-4)
    under, under_gold = np.trapezoid(values, THREE_STEPS), np.trapezoid(gold, THREE_STEPS)
    assert found.signed == pytest.approx(under - under_gold, abs=1e-9)
    assert found.between == pytest.approx(found.ahead + found.behind)
    assert area(loss(*values), loss(*gold)).signed == pytest.approx(-found.signed)


def test_area_is_nan_when_a_value_is_not_finite() -> None:
    for values in ((nan, 1.0, 1.0), (4.0, 3.0, nan), (4.0, inf, 1.0), (nan, nan, -1.0)):
        for pair in ((loss(*values), loss(*GOLD)), (loss(*GOLD), loss(*values))):
            assert all(map(isnan, area(*pair)))
            assert isnan(share(*pair, base=loss(1.0, 1.0, 1.0)))


def test_share_is_0_for_gold_and_1_for_base() -> None:
    gold, base = loss(4.0, 4.0, 4.0), loss(2.0, 2.0, 2.0)
    assert share(gold, gold, base) == 0
    assert share(base, gold, base) == 1
    assert share(loss(3.5, 3.5, 3.5), gold, base) == 0.25
    assert share(accuracy(0.5, 0.5, 0.5), accuracy(0, 0, 0), accuracy(1, 1, 1)) == 0.5


def test_share_is_positive_when_a_model_is_behind_gold() -> None:
    gold, base, broken = loss(4.0, 4.0, 4.0), loss(2.0, 2.0, 2.0), loss(7.0, 4.0, 4.0)
    assert share(broken, gold, base) == pytest.approx(3 / 12)


@pytest.mark.parametrize("base", [GOLD, (4.5, 3.5, 1.5), (3.0, 4.0, 1.0)])
def test_share_is_nan_when_the_base_is_not_ahead_of_gold(base: tuple[float, ...]) -> None:
    value = share(loss(1.0, 1.0, 1.0), loss(*GOLD), loss(*base))
    assert isnan(value)


def test_area_refuses_curves_of_different_kinds() -> None:
    for other in (accuracy(*GOLD), WorstCase((0, 1, 2), GOLD, lower_is_worse=True)):
        with pytest.raises(ValueError, match="of the same steps"):
            area(loss(*GOLD), other)


def attack_curve(
    name: str, rate: float, facts: list[float], losses: list[float], seed: int = 0
) -> Curve:
    shows = {"half": "forget_second"}.get(name, "forget")
    values = {f"mcq_{shows}": tuple(facts), f"{shows}_loss": tuple(losses), "mcq_other": (9.0, 9.0)}
    return Curve(name, rate, 8, (0, 5), values, seed)


def test_rows_use_the_section_of_their_attack_and_average_seeds() -> None:
    curves = [
        attack_curve("half", 0.1, [0.25, 0.5], [3.0, 2.0]),
        attack_curve("half", 0.1, [0.25, 0.75], [3.0, 1.0], seed=1),
        attack_curve("lora-same", 0.2, [0.25, 1.0], [3.0, nan]),
    ]
    rows = rows_of(curves)
    at = {"learning_rate": 0.1, "num_examples": 8, "step": 5}
    assert rows[:4] == [
        Row("half", {**at, "step": 0}, FACTS, 0.25),
        Row("half", at, FACTS, 0.625),
        Row("half", {**at, "step": 0}, LOSS, 3.0),
        Row("half", at, LOSS, 1.5),
    ]
    assert [(row.attack, row.figure) for row in rows[4:]] == [
        *[("lora-same", FACTS)] * 2,
        *[("lora-same", LOSS)] * 2,
    ]
    assert isnan(rows[-1].value)


def test_worst_case_row_has_most_facts_or_least_loss() -> None:
    rows = rows_of(
        [
            attack_curve("same", 0.1, [0.25, 0.5], [3.0, 2.0]),
            attack_curve("same", 0.2, [0.25, nan], [3.0, nan]),
            attack_curve("half", 0.1, [0.25, 1.0], [3.0, 0.5]),
        ]
    )
    facts, loss = (worst_case_row(rows, "same", figure) for figure in (FACTS, LOSS))
    assert facts is not None
    assert loss is not None
    assert (facts.value, loss.value) == (0.5, 2.0)
    assert loss.setting == {"learning_rate": 0.1, "num_examples": 8, "step": 5}
    assert worst_case_row(rows, "benign", FACTS) is None
    assert worst_case_row(rows, "same", CONTROL) is None
    assert worst_case_row([Row("same", {}, LOSS, nan)], "same", LOSS) is None


def test_worst_case_control_is_that_of_the_worst_setting() -> None:
    rows = [
        Row("probe", {"layer": layer}, figure, value)
        for layer, facts, control in ((0, 0.3, 0.9), (1, 0.8, 0.2), (2, 0.8, 0.4))
        for figure, value in ((FACTS, facts), (CONTROL, control))
    ]
    assert worst_case_row(rows, "probe", CONTROL) == Row("probe", {"layer": 1}, CONTROL, 0.2)


def test_row_survives_a_round_trip_through_json() -> None:
    row = Row("few-shot", {"shots": 2}, FACTS, 0.5)
    assert row_from_json(as_read(row._asdict())) == row
    lost = as_read(row._replace(value=nan)._asdict())
    assert lost["value"] is None
    assert isnan(row_from_json(lost).value)
