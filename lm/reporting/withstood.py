"""Which attacks a method withstood: those that get no more out of it than out of gold.

Gold never saw what is to be forgotten, so that what an attack gets out of gold it has taught, or
guessed. A method withstood an attack unless the attack's worst setting is ahead of its worst on
gold by more than `MARGINS` allows, and, from three seeds on, the interval of that lead over
seeds leaves out zero as well. With fewer seeds the margin alone decides.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from typing import NamedTuple

from lm.attack.interval import Estimate
from lm.attack.records import from_json as curve_from_json
from lm.attack.rows import FACTS, LOSS, Row, from_json, rows_of, worst_row
from lm.attack.suite import SUITES
from lm.reporting.estimate import FEWEST, difference, estimate
from lm.reporting.runs import GOLD, Result, Runs

MARGINS: Mapping[str, float] = {FACTS: 0.1, LOSS: 0.1}
"""How far ahead of gold an attacker may be, in shares of facts and in nats per token."""


class Withstood(NamedTuple):
    """What the worst setting of an attack got out of a method, beside gold."""

    method: str
    attack: str
    figure: str
    """facts or loss"""
    worst: Estimate
    """of the method"""
    gold: Estimate
    """of gold"""
    lead: Estimate
    """how much more it got than of gold of the same seed; above 0 it is ahead, also in loss"""
    withstood: bool | None
    """whether the method withstood it; None if it is not known, for want of gold say"""


def withstood(results: Sequence[Result]) -> list[Withstood]:
    """Return a row for each method but gold, attack and figure that was measured.

    Args:
        results: of one share of labels, at most one for each method and seed.

    >>> withstood([])
    []
    """
    runs = Runs(results)
    return [
        _compared(results, method, attack, figure)
        for method in runs.methods
        if method != GOLD
        for attack in SUITES["full"]
        for figure in MARGINS
        if worst_by_seed(results, method, attack, figure)
    ]


def tally(rows: Sequence[Withstood]) -> str:
    """Return in one sentence how many attacks each method withstood, by all of its figures."""
    held: dict[str, dict[str, bool]] = {}
    for row in rows:
        if row.withstood is not None:
            attacks = held.setdefault(row.method, {})
            attacks[row.attack] = attacks.get(row.attack, True) and row.withstood
    clauses = [
        f"{method} {sum(attacks.values())} of {len(attacks)}" for method, attacks in held.items()
    ]
    if not held:
        return f"Attacks are judged beside those on {GOLD}, and it takes another method."
    return f"Attacks that get no more out of it than out of {GOLD}: {', '.join(clauses)}."


def worst_by_seed(
    results: Sequence[Result], method: str, attack: str, figure: str
) -> dict[int, float]:
    """Return the figure of an attack's worst setting on each run of a method, by seed."""
    found = {
        int(result["seed"]): worst_row(_rows(result), attack, figure)
        for result in results
        if result["method"] == method
    }
    return {seed: row.value for seed, row in sorted(found.items()) if row is not None}


def _rows(result: Result) -> list[Row]:
    """Return the grid of a result; without one, what its curves of relearning say."""
    if "grid" in result:
        return [from_json(row) for row in result["grid"]]
    return rows_of(curve_from_json(curve) for curve in result.get("curves", ()))


def _compared(results: Sequence[Result], method: str, attack: str, figure: str) -> Withstood:
    own, gold = (worst_by_seed(results, each, attack, figure) for each in (method, GOLD))
    lead = difference(own, gold) if figure != LOSS else difference(gold, own)
    means = estimate(list(own.values())), estimate(list(gold.values()))
    return Withstood(method, attack, figure, *means, lead, _holds(lead, MARGINS[figure]))


def _holds(lead: Estimate, margin: float) -> bool | None:
    if isnan(lead.value):
        return None
    tied = lead.seeds >= FEWEST and isfinite(lead.low) and lead.low <= 0
    return lead.value <= margin or tied
