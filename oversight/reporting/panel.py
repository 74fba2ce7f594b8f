"""The part of a study that is compared on one page: all methods and levels of one variation."""

from collections.abc import Iterable
from functools import lru_cache
from math import inf, isnan
from typing import Any

import numpy as np

from oversight.reporting.rows import ALL, UNOBSERVED, Row
from oversight.reporting.statistics import Estimate, Sample, bootstrap, interval, iqm

PLAIN = "naive"
"""The method that is plain PPO on what it was shown."""

_LEAST = 1e-9  # of a return that others are measured against


def is_oracle(method: str) -> bool:
    """Whether a method is paid the hidden truth, so that it is a ceiling and no competitor."""
    return method.startswith("oracle")


class Panel:
    """The rows of one variation, by rule, method, level and seed.

    Attributes:
        name: the variation.
        methods: in the order of the study.
        levels: rising.

    Args:
        name: the variation.
        rows: of that variation, at most one for each rule of a run.
        rule: how checkpoints are chosen where nothing else is said.
    """

    def __init__(self, name: str, rows: Iterable[Row], rule: str) -> None:
        self.name, self.rule = name, rule
        self.rows = tuple(rows)
        self.methods = tuple(dict.fromkeys(row.method for row in self.rows))
        self.levels = tuple(sorted({row.level for row in self.rows}))
        self._cells: dict[tuple[str, str, float], dict[int, Row]] = {}
        for row in sorted(self.rows, key=lambda row: row.seed):
            self._cells.setdefault((row.rule, row.method, row.level), {})[row.seed] = row

    @property
    def competitors(self) -> tuple[str, ...]:
        """The methods that are not paid the truth."""
        return tuple(method for method in self.methods if not is_oracle(method))

    @property
    def oracle(self) -> str | None:
        """The oracle that the others are measured against: `oracle`, or the study's first."""
        oracles = [method for method in self.methods if is_oracle(method)]
        return "oracle" if "oracle" in oracles else next(iter(oracles), None)

    def cell(self, method: str, level: float, rule: str | None = None) -> dict[int, Row]:
        """Return the rows of a cell by seed, rising."""
        return self._cells.get((rule or self.rule, method, level), {})

    def sample(
        self, method: str, level: float, score: str = UNOBSERVED, rule: str | None = None
    ) -> Sample:
        """Return what is known of a score in a cell, one value per seed."""
        values = [row.scores[score] for row in self.cell(method, level, rule).values()]
        return np.array([value for value in values if not isnan(value)], dtype=float)

    def pair(
        self, method: str, level: float, rules: tuple[str, str], score: str = UNOBSERVED
    ) -> tuple[Sample, Sample]:
        """Return a score under two rules, over the runs that have both, in the same order."""
        one, other = (self.cell(method, level, rule) for rule in rules)
        pairs = [
            (one[seed].scores[score], other[seed].scores[score]) for seed in one if seed in other
        ]
        known = np.array([pair for pair in pairs if not np.isnan(pair).any()]).reshape(-1, 2)
        return known[:, 0], known[:, 1]

    @lru_cache  # noqa: B019 (a report makes a handful of panels and ends)
    def estimate(
        self, method: str, level: float, score: str = UNOBSERVED, rule: str | None = None
    ) -> Estimate:
        """Return the IQM of a cell with its interval."""
        return interval([self.sample(method, level, score, rule)])

    def tax(self, method: str) -> Estimate:
        """Return the share of plain PPO's true return that a method gives up at full oversight."""
        own, plain = self.sample(method, 1.0, ALL), self.sample(PLAIN, 1.0, ALL)
        if method == PLAIN:
            return Estimate(0.0, 0.0, 0.0, len(plain))  # it is what the tax is measured from

        def share(one: Any, other: Any, axis: int) -> Any:  # noqa: ANN401
            return 1 - iqm(one, axis) / np.maximum(iqm(other, axis), _LEAST)

        return bootstrap([own, plain], share)

    def ranked(self) -> tuple[str, ...]:
        """Return the competitors, the one with the highest mean over the levels it has first."""

        def height(method: str) -> float:
            values = [self.estimate(method, level).value for level in self.levels]
            known = [value for value in values if not isnan(value)]
            return sum(known) / len(known) if known else -inf

        return tuple(sorted(self.competitors, key=height, reverse=True))

    def measured(self, score: str = UNOBSERVED) -> tuple[float, ...]:
        """Return the levels at which a score is known of any method."""
        return tuple(
            level
            for level in self.levels
            if any(len(self.sample(method, level, score)) for method in self.methods)
        )
