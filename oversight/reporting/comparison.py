"""Who wins at one oversight level, and by how much: a win needs intervals that lie apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from oversight.reporting.panel import Panel
from oversight.reporting.rows import UNOBSERVED
from oversight.reporting.statistics import UNKNOWN, Estimate, difference

FEWEST = 3
"""Seeds that a method needs to be compared; the interval of two is no more than the two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What methods are against each other at one level.

    Attributes:
        level: the oversight probability.
        ranked: the methods that have seeds enough, the best first.
        level_with: those whose intervals reach up to that of the best.
        margin: the best less the next.
        few: methods of too few seeds, which are not compared.
    """

    level: float
    ranked: tuple[str, ...]
    level_with: tuple[str, ...]
    margin: Estimate
    few: tuple[str, ...]

    @property
    def best(self) -> str | None:
        """The method with the highest IQM, if there is any to compare."""
        return self.ranked[0] if self.ranked else None

    @property
    def winner(self) -> str | None:
        """The best method, if there are others and its interval lies above all of theirs."""
        return self.best if len(self.ranked) > 1 and not self.level_with else None

    @property
    def draw(self) -> tuple[str, ...]:
        """The methods that cannot be told apart from the best, and it; empty if there is none."""
        return self.ranked[:1] + self.level_with if self.level_with else ()


def compare(
    panel: Panel, methods: Sequence[str], level: float, score: str = UNOBSERVED
) -> Comparison:
    """Return how methods stand at one level."""
    estimates = {method: panel.estimate(method, level, score) for method in methods}
    known = [method for method in methods if estimates[method].seeds >= FEWEST]
    ranked = tuple(sorted(known, key=lambda method: -estimates[method].value))
    floor = estimates[ranked[0]].low if ranked else 0.0
    samples = [panel.sample(method, level, score) for method in ranked[:2]]
    return Comparison(
        level=level,
        ranked=ranked,
        level_with=tuple(method for method in ranked[1:] if estimates[method].high >= floor),
        margin=difference(*samples) if len(samples) == 2 else UNKNOWN,
        few=tuple(method for method in methods if 0 < estimates[method].seeds < FEWEST),
    )
