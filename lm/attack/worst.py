"""The worst case of an attack: the most that an attacker gets, step by step, and how soon.

For a loss lower is worse, since the lower one knows more; for an accuracy higher is.
"""

from collections.abc import Sequence
from math import inf, isnan
from typing import NamedTuple

import numpy as np

from lm.attack.relearning import Curve


class Worst(NamedTuple):
    """The envelope of an attack's curves."""

    steps: tuple[int, ...]
    """when it was measured; 0 is the model as given"""
    values: tuple[float, ...]
    """the worst value up to each of the steps"""
    lower_is_worse: bool
    """whether it is of a loss, and not of an accuracy"""


def worst(curves: Sequence[Curve], name: str, lower_is_worse: bool) -> Worst:
    """Return the best that an attacker gets by each step, who knows what to choose and to stop.

    Curves of other draws of examples are averaged first, so that luck is not taken for strength;
    then the worst of the settings is taken, and of the steps so far. A run that diverged (NaN)
    gains its attacker nothing.

    Args:
        curves: of one attack on one model.
        name: what to look at, one of what they measured.
        lower_is_worse: true of a loss, false of an accuracy.

    Raises:
        ValueError: if there is no curve, or they do not belong together.
    """
    if len({(curve.attack, curve.steps) for curve in curves}) != 1:
        raise ValueError(
            f"{len(curves)} curves were given: give one or more of one attack, measured at the "
            "same steps"
        )
    lacking = [curve for curve in curves if name not in curve.values]
    if lacking:
        raise ValueError(f"{name!r} was not measured: choose from {', '.join(lacking[0].values)}")
    settings: dict[tuple[float, int], list[tuple[float, ...]]] = {}
    for curve in curves:
        setting = curve.learning_rate, curve.num_examples
        settings.setdefault(setting, []).append(curve.values[name])
    by_setting = np.array([np.mean(draws, axis=0) for draws in settings.values()])
    pick = np.fmin if lower_is_worse else np.fmax  # both pass over NaN
    values = pick.accumulate(pick.reduce(by_setting, axis=0))
    return Worst(curves[0].steps, tuple(values.tolist()), lower_is_worse)


def steps_to_reach(curve: Worst, level: float) -> int | None:
    """Return the first measured step at which a level is reached or passed; None if none is.

    >>> steps_to_reach(Worst((0, 5, 10), (3.0, 2.0, 1.0), lower_is_worse=True), 2.5)
    5

    Raises:
        ValueError: if the level is NaN, of which nobody can tell.
    """
    if isnan(level):
        raise ValueError("the level to reach is NaN: give a number")
    for step, value in zip(curve.steps, curve.values, strict=True):
        if value <= level if curve.lower_is_worse else value >= level:
            return step
    return None


def median_steps(steps: Sequence[int | None]) -> int | None:
    """Return the median over seeds of steps to reach a level, the lower one of two.

    None, a level that was not reached, counts as later than any step.

    Raises:
        ValueError: if there are no seeds.

    >>> median_steps([None, 7, None, 10])
    10
    """
    if not steps:
        raise ValueError("no steps were given: give those of one or more seeds")
    middle = sorted(inf if step is None else step for step in steps)[(len(steps) - 1) // 2]
    return None if middle == inf else int(middle)


def shown_steps(steps: int | None, budget: int) -> str:
    """Return steps to reach a level for a table.

    >>> shown_steps(7, budget=40), shown_steps(None, budget=40)
    ('7', '>40')
    """
    return f">{budget}" if steps is None else str(steps)
