"""Rows of the grid: what curves become, the worst of them, and JSON."""

import json
from math import isnan, nan

from lm.attacks.relearning import Curve
from lm.attacks.results import (
    CONTROL,
    FACTS,
    LOSS,
    Row,
    row_from_json,
    row_to_json,
    rows_of,
    worst_row,
)


def curve(name: str, rate: float, facts: list[float], losses: list[float], seed: int = 0) -> Curve:
    shows = {"half": "forget_second"}.get(name, "forget")
    values = {f"mcq_{shows}": tuple(facts), f"{shows}_loss": tuple(losses), "mcq_other": (9.0, 9.0)}
    return Curve(name, rate, 8, (0, 5), values, seed)


def test_curves_become_rows_of_where_their_attack_shows_and_draws_are_averaged() -> None:
    curves = [
        curve("half", 0.1, [0.25, 0.5], [3.0, 2.0]),
        curve("half", 0.1, [0.25, 0.75], [3.0, 1.0], seed=1),
        curve("lora-same", 0.2, [0.25, 1.0], [3.0, nan]),
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


def test_the_worst_is_most_facts_and_least_loss_and_diverging_gains_nothing() -> None:
    rows = rows_of(
        [
            curve("same", 0.1, [0.25, 0.5], [3.0, 2.0]),
            curve("same", 0.2, [0.25, nan], [3.0, nan]),
            curve("half", 0.1, [0.25, 1.0], [3.0, 0.5]),
        ]
    )
    facts, loss = (worst_row(rows, "same", figure) for figure in (FACTS, LOSS))
    assert facts is not None
    assert loss is not None
    assert (facts.value, loss.value) == (0.5, 2.0)
    assert loss.setting == {"learning_rate": 0.1, "num_examples": 8, "step": 5}
    assert worst_row(rows, "benign", FACTS) is None
    assert worst_row(rows, "same", CONTROL) is None
    assert worst_row([Row("same", {}, LOSS, nan)], "same", LOSS) is None


def test_a_control_is_that_of_the_worst_setting() -> None:
    rows = [
        Row("probe", {"layer": layer}, figure, value)
        for layer, facts, control in ((0, 0.3, 0.9), (1, 0.8, 0.2), (2, 0.8, 0.4))
        for figure, value in ((FACTS, facts), (CONTROL, control))
    ]
    assert worst_row(rows, "probe", CONTROL) == Row("probe", {"layer": 1}, CONTROL, 0.2)


def test_rows_go_through_json_and_what_is_not_finite_is_null() -> None:
    row = Row("few-shot", {"shots": 2}, FACTS, 0.5)
    assert row_from_json(json.loads(json.dumps(row_to_json(row)))) == row
    lost = row_to_json(row._replace(value=nan))
    assert lost["value"] is None
    assert isnan(row_from_json(lost).value)
