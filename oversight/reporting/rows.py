"""One row of a study's results: what one run scored at the checkpoint that one rule chose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isinf, nan
from typing import Any

RULES = ("last", "observed", "leaky")
"""How the checkpoint was chosen: the last one, by observed episodes, or by the hidden truth."""

ALL, OBSERVED, UNOBSERVED = "true_return", "true_return_observed", "true_return_unobserved"
FLAG_FLIP_GAP = "flag_flip_gap"
MAIN = "default"
"""The variation in which nothing is changed."""
SCORES = (ALL, OBSERVED, UNOBSERVED, FLAG_FLIP_GAP)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of the results.

    Attributes:
        run: name of the run and, below `runs/`, of its folder.
        variation: what sets this part of the study apart, such as a hidden flag.
        level: the oversight probability.
        rule: how the checkpoint was chosen, one of `RULES`.
        step: environment steps at that checkpoint.
        scores: what `SCORES` names; NaN where it was not measured.
        observed_episodes: episodes whose reward the learner saw; NaN where unknown.
        commit: source of the run, empty where unknown.
        cells: all that the row says, as it was read.
    """

    run: str
    method: str
    variation: str
    level: float
    seed: int
    rule: str
    step: float
    scores: Mapping[str, float]
    observed_episodes: float
    env_steps: float
    wall_seconds: float
    commit: str
    cells: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def parse_row(data: Mapping[str, Any]) -> Row:
    """Return a row from the cells of one, which may be text or numbers.

    Raises:
        ValueError: if a cell that says what the row is about is missing or damaged.
    """
    rule = _word(data, "rule")
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, allowed are {', '.join(RULES)}")
    level, seed = _number(data, "oversight_probability"), _number(data, "seed")
    if not 0 <= level <= 1:  # false for NaN as well
        raise ValueError(f"oversight_probability is {level}, a number from 0 to 1 is needed")
    if seed != seed // 1:
        raise ValueError(f"seed is {seed}, a whole number is needed")
    return Row(
        run=_word(data, "run"),
        method=_word(data, "method"),
        variation=str(data.get("variation") or MAIN),
        level=level,
        seed=int(seed),
        rule=rule,
        step=_number(data, "step"),
        scores={name: _number(data, name) for name in SCORES},
        observed_episodes=_number(data, "observed_episodes"),
        env_steps=_number(data, "env_steps"),
        wall_seconds=_number(data, "wall_seconds"),
        commit=str(data.get("commit") or ""),
        cells=data,
    )


def _word(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {value!r}, a word is needed")
    return value


def _number(data: Mapping[str, Any], name: str) -> float:
    """Return a number, NaN for an empty cell."""
    value = data.get(name)
    if value is None or value == "":
        return nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}, a number is needed") from None
    if isinf(number):
        raise ValueError(f"{name} is {value!r}, a finite number is needed")
    return number
