"""The rows of the grid of attacks: what each setting of each attack got out of a model.

For a loss lower is worse, since the lower one knows more; for a share of facts higher is.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, nan
from typing import Any, NamedTuple

import numpy as np

from lm.attack.attacks import ATTACKS
from lm.attack.relearning import Curve

FACTS, LOSS, CONTROL = "facts", "loss", "control"
"""What rows tell: the share of facts to forget that are known, by chance a quarter; the loss on
stories to forget, in nats; and the share of facts that the attack's control gets."""


class Row(NamedTuple):
    """What one setting of an attack got out of a model."""

    attack: str
    """its name"""
    setting: Mapping[str, float]
    """what was set, by name"""
    figure: str
    """what was measured: facts, loss or control"""
    value: float


def rows_of(curves: Iterable[Curve]) -> list[Row]:
    """Return the rows of curves of relearning, which is measured where an attack shows.

    Draws of examples are averaged, so that luck is not taken for strength.
    """
    drawn: dict[tuple[str, float, int, int, str], list[float]] = {}
    for curve in curves:
        shows = ATTACKS[curve.attack].shows
        for figure, name in ((FACTS, f"mcq_{shows}"), (LOSS, f"{shows}_loss")):
            # texts without facts have no share of them
            for step, value in zip(curve.steps, curve.values.get(name, ()), strict=False):
                setting = (curve.attack, curve.learning_rate, curve.num_examples, step, figure)
                drawn.setdefault(setting, []).append(value)
    return [
        Row(
            attack,
            {"learning_rate": rate, "num_examples": count, "step": step},
            figure,
            float(np.mean(values)),
        )
        for (attack, rate, count, step, figure), values in drawn.items()
    ]


def worst_row(rows: Sequence[Row], attack: str, figure: str) -> Row | None:
    """Return the row of the setting that gets most out of a model, the first of equals.

    None if the attack was not run, does not tell the figure, or no value of it is finite: a run
    that diverged gains its attacker nothing. Of a control it is that of the worst setting by
    facts, which is the one that it is the control of.
    """
    told = [row for row in rows if (row.attack, row.figure) == (attack, figure)]
    if figure == CONTROL:
        facts = worst_row(rows, attack, FACTS)
        return next((row for row in told if facts and row.setting == facts.setting), None)
    told = [row for row in told if isfinite(row.value)]
    sign = -1 if figure == LOSS else 1
    return max(told, key=lambda row: sign * row.value, default=None)


def to_json(row: Row) -> dict[str, Any]:
    """Return a row as plain data; a value that is not finite is null.

    >>> to_json(Row("few-shot", {"shots": 2}, "facts", 0.5))
    {'attack': 'few-shot', 'setting': {'shots': 2}, 'figure': 'facts', 'value': 0.5}
    """
    value = row.value if isfinite(row.value) else None
    return row._asdict() | {"setting": dict(row.setting), "value": value}


def from_json(data: Mapping[str, Any]) -> Row:
    """Return the row that `to_json` made data of."""
    value = nan if data["value"] is None else float(data["value"])
    return Row(data["attack"], data["setting"], data["figure"], value)
