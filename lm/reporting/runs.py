"""The results of runs, by method and seed: what tables, verdict and figures read."""

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

from lm.attack.interval import Estimate
from lm.methods import METHODS
from lm.reporting.estimate import estimate

Result = Mapping[str, Any]
"""The result of one run: an entry of `summary.json`."""

GOLD, BASE = "gold", "unrouted"
"""The references: never taught what is to be forgotten, and taught everything alike."""


class Runs:
    """Results by method and seed.

    Attributes:
        results: all of them.
        methods: in the order of `lm.methods.METHODS`.

    Args:
        results: at most one for each method and seed.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = tuple(results)
        run = {result["method"] for result in results}
        self.methods = tuple(method for method in METHODS if method in run)

    def values(self, method: str, measure: str) -> dict[int, float]:
        """Return what is known of a measure of a method, by seed, rising.

        Args:
            method: its name.
            measure: a key of the results, or a dotted path, such as `forget_loss.after`.
        """
        found = {
            result["seed"]: number(result, measure)
            for result in self.results
            if result["method"] == method
        }
        return {seed: found[seed] for seed in sorted(found) if isfinite(found[seed])}

    def mean(self, method: str, measure: str) -> Estimate:
        """Return the mean over seeds of a measure of a method."""
        return estimate(list(self.values(method, measure).values()))

    @property
    def contenders(self) -> tuple[str, ...]:
        """The methods that are to unlearn: neither references nor controls."""
        return tuple(method for method in self.methods if unlearns(method))


def unlearns(method: str) -> bool:
    """Return whether a method is one of unlearning, and no reference or control.

    >>> [name for name in METHODS if not unlearns(name)]
    ['gold', 'unrouted', 'unrouted-ablated', 'random-region']
    """
    own = METHODS[method]
    changed = own.posthoc != "nothing" or own.table != METHODS[BASE].table
    return changed and not own.told_truth and own.ablation != "random"


def number(result: Result, measure: str) -> float:
    """Return a number of a result by its dotted path, NaN if there is none.

    >>> number({"forget_loss": {"after": 3.0}}, "forget_loss.after")
    3.0
    """
    value: Any = result
    for name in measure.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return nan if value is None else float(value)
