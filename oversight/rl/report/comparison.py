"""The part of a study that is compared on one page: all methods and levels of one variation.

Who wins at one oversight level, and by how much: a win needs intervals that lie apart.

Label efficiency: how many observed episodes bring a method to 80% of the oracle.

The verdict: who wins where nobody watches, and what early stopping does, as two sentences.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, isnan, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oversight.rl.report.results import ALL, UNOBSERVED, Row
from oversight.runs.statistics import (
    MIN_SEEDS,
    UNKNOWN,
    Estimate,
    Sample,
    bootstrap,
    difference,
    interval,
    iqm,
)

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
    known = [method for method in methods if estimates[method].seeds >= MIN_SEEDS]
    ranked = tuple(sorted(known, key=lambda method: -estimates[method].value))
    floor = estimates[ranked[0]].low if ranked else 0.0
    samples = [panel.sample(method, level, score) for method in ranked[:2]]
    return Comparison(
        level=level,
        ranked=ranked,
        level_with=tuple(method for method in ranked[1:] if estimates[method].high >= floor),
        margin=difference(*samples) if len(samples) == 2 else UNKNOWN,
        few=tuple(method for method in methods if 0 < estimates[method].seeds < MIN_SEEDS),
    )


SHARE = 0.8
_BEYOND = 1.0  # how far behind the last level, in log episodes, "never" is put


@dataclass(frozen=True, kw_only=True, slots=True)
class Efficiency:
    """The observed episodes that a method needs, within what the study tried.

    Attributes:
        episodes: how many, with an interval; its ends are cut at `least` and `most`.
        least: observed episodes at the lowest level of the study; fewer were not tried.
        most: those at the highest.
    """

    episodes: Estimate
    least: float
    most: float

    def __str__(self) -> str:
        """Return a phrase, such as `1,200 (800 to 2,000)`."""
        if not self.episodes.seeds:
            return "-"
        value = self._bound(self.episodes.value)
        if not self.episodes.known or value.startswith("over"):
            return value
        return f"{value} ({self._bound(self.episodes.low)} to {self._bound(self.episodes.high)})"

    def within(self) -> Estimate:
        """Return the episodes cut at what the study tried."""

        def cut(episodes: float) -> float:
            return min(max(episodes, self.least), self.most)

        value, low, high, seeds = self.episodes
        return Estimate(cut(value), cut(low), cut(high), seeds)

    def _bound(self, episodes: float) -> str:
        if episodes > self.most * 1.001:  # the ends went through a logarithm
            return f"over {self.most:,.0f}"
        if episodes < self.least * 1.001:
            return f"at most {self.least:,.0f}"
        return f"{episodes:,.0f}"


def label_efficiency(panel: Panel, method: str) -> Efficiency | None:
    """Return the observed episodes from which on a method has 80% of the oracle's true return.

    Both are compared at the same level, where nobody watches. Between two levels the share is
    taken to be linear in the logarithm of the episodes. None if fewer than two levels have both.
    """
    oracle = panel.oracle
    if oracle is None:
        return None
    points = []
    for level in panel.measured():
        cell = panel.cell(method, level)
        episodes = np.array([row.observed_episodes for row in cell.values()])
        scores, ceiling = panel.sample(method, level), panel.sample(oracle, level)
        if len(scores) and len(ceiling) and np.nanmax(episodes, initial=0.0) > 0:
            points.append((log(float(np.nanmean(episodes))), scores, ceiling))
    if len(points) < 2:
        return None
    points.sort(key=lambda point: point[0])
    reached = np.array([point[0] for point in points])
    half = len(points)

    def crossing(*samples: Any, axis: int) -> Any:  # noqa: ANN401
        ratios = [
            _share(iqm(score, axis), iqm(ceiling, axis))
            for score, ceiling in zip(samples[:half], samples[half:], strict=True)
        ]
        return first_crossing(np.stack(np.broadcast_arrays(*ratios), axis=-1), reached, SHARE)

    found = bootstrap([*(p[1] for p in points), *(p[2] for p in points)], crossing)
    spent = Estimate(exp(found.value), exp(found.low), exp(found.high), found.seeds)
    return Efficiency(episodes=spent, least=exp(reached[0]), most=exp(reached[-1]))


def first_crossing(
    values: NDArray[np.float64], places: Sequence[float] | NDArray[np.float64], target: float
) -> NDArray[np.float64]:
    """Return where values first reach a target, linear between places.

    Args:
        values: [..., places].
        places: rising, [places].
        target: what is to be reached.

    Returns:
        The place, [...]: the first one if the first value is there already, and one unit behind
        the last if none is.

    >>> float(first_crossing(np.array([0.0, 1.0]), [2.0, 4.0], 0.5))
    3.0
    """
    x = np.asarray(places, dtype=float)
    there = values >= target
    last = np.where(there.any(axis=-1), there.argmax(axis=-1), len(x) - 1)
    first = np.maximum(last - 1, 0)
    below = np.take_along_axis(values, first[..., None], axis=-1)[..., 0]
    above = np.take_along_axis(values, last[..., None], axis=-1)[..., 0]
    rise = np.where(above > below, above - below, 1.0)
    part = np.clip((target - below) / rise, 0.0, 1.0)
    place = x[first] + np.where(last > 0, part, 0.0) * (x[last] - x[first])
    crossed: NDArray[np.float64] = np.where(there.any(axis=-1), place, x[-1] + _BEYOND)
    return crossed


def _share(score: Any, ceiling: Any) -> Any:  # noqa: ANN401
    """Return a score as a share of the oracle's, 0 where the oracle itself has nothing."""
    return np.where(ceiling > 0, score / np.where(ceiling > 0, ceiling, 1.0), 0.0)


UNWATCHED = "Where nobody watches"


def verdict(panel: Panel) -> str:
    """Return who has the highest true return where nobody watches, level by level."""
    levels = panel.measured()
    if not levels:
        return f"{UNWATCHED}, nothing was measured: there is no verdict."
    compared = [compare(panel, panel.competitors, level) for level in levels]
    decided = [each for each in compared if len(each.ranked) > 1]
    if not decided:
        return _undecided(compared)
    clauses = [*_wins(decided, len(levels)), *_draws(decided, len(levels))]
    open_levels = [each.level for each in compared if len(each.ranked) < 2]
    if open_levels:
        clauses.append(f"{at(open_levels)} there are too few seeds or methods to tell")
    return f"{UNWATCHED}, {'; '.join(clauses)}."


def early_stopping(panel: Panel, routed: str) -> str:
    """Return whether stopping on observed episodes brings plain PPO up to a routed method."""
    for method in (PLAIN, routed):
        if method not in panel.methods:
            return f"Early stopping is not settled here: the study has no runs of {method}."
    stopped = panel if panel.rule == "observed" else Panel(panel.name, panel.rows, "observed")
    pairs = [compare(stopped, (routed, PLAIN), level) for level in stopped.measured()]
    pairs = [pair for pair in pairs if len(pair.ranked) == 2]
    if not pairs:
        return (
            f"Early stopping is not settled here: it takes {MIN_SEEDS} seeds of both "
            f"{PLAIN} and {routed} with checkpoints chosen on observed episodes."
        )
    ahead = [pair for pair in pairs if pair.winner == routed]
    behind = [pair for pair in pairs if pair.winner == PLAIN]
    even = [pair.level for pair in pairs if pair.winner is None]
    clauses = [
        f"{name} is ahead of {other} {at(_places(those))}, by {_least(those)}"
        for name, other, those in ((routed, PLAIN, ahead), (PLAIN, routed, behind))
        if those
    ]
    clauses += [f"{at(even)} {routed} and {PLAIN} cannot be told apart"] if even else []
    return f"With early stopping on observed episodes, {'; '.join(clauses)}."


def _wins(compared: Sequence[Comparison], levels: int) -> list[str]:
    """Return a clause for each winner, who wins most first."""
    winners: dict[str, list[Comparison]] = {}
    for each in compared:
        if each.winner is not None:
            winners.setdefault(each.winner, []).append(each)
    ordered = sorted(winners.items(), key=lambda item: -len(item[1]))
    everywhere = len(winners) == 1 and len(compared) == levels == len(ordered[0][1]) > 1
    return [
        f"{method} wins {'at every level' if everywhere else at(_places(those))}, "
        f"by {_least(those)}"
        for method, those in ordered
    ]


def _draws(compared: Sequence[Comparison], levels: int) -> list[str]:
    """Return a clause for the levels at which the best cannot be told from others."""
    groups: dict[str, list[Comparison]] = {}
    for each in compared:
        if each.draw:
            groups.setdefault(each.draw[0], []).append(each)
    return [
        f"{'at every level' if len(those) == levels > 1 else at(_places(those))} it is a draw "
        f"{_between(those)}"
        for those in groups.values()
    ]


def _between(draws: Sequence[Comparison]) -> str:
    """Return who draws if it is the same two or three everywhere, else who is in front."""
    if len({frozenset(each.draw) for each in draws}) == 1 and len(draws[0].draw) <= 3:
        return f"between {listed(draws[0].draw)}"
    return f"with {draws[0].draw[0]} in front"


def _places(compared: Iterable[Comparison]) -> list[float]:
    return [each.level for each in compared]


def _least(compared: Sequence[Comparison]) -> str:
    """Return the margin, or the smallest of several."""
    least = min((each.margin for each in compared), key=lambda margin: margin.value)
    return f"{'' if len(compared) == 1 else 'at least '}{spoken(least, '95% interval ')}"


def _undecided(compared: Sequence[Comparison]) -> str:
    """Return why there is nothing to compare, for want of seeds or of methods."""
    if any(each.few for each in compared):
        return (
            f"{UNWATCHED}, there is no verdict: it takes {MIN_SEEDS} seeds of a method, "
            "for with fewer a lead is not a finding."
        )
    alone = sorted({each.ranked[0] for each in compared if each.ranked})
    what = f"only {listed(alone)} was run" if alone else "only oracles were run"
    return f"{UNWATCHED}, there is no verdict: {what}, and a comparison needs two methods."


def spoken(estimate: Estimate, label: str = "") -> str:
    """Return an estimate for a sentence.

    >>> spoken(Estimate(0.1, 0.06, 0.14, 5), "95% interval ")
    '0.10 (95% interval 0.06 to 0.14)'
    """
    return f"{estimate.value:z.2f} ({label}{estimate.low:z.2f} to {estimate.high:z.2f})"


def at(levels: Sequence[float]) -> str:
    """Return levels for a sentence.

    >>> at([0.01, 0.1])
    'at p = 0.01 and 0.1'
    """
    return f"at p = {listed([f'{level:g}' for level in levels])}"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
