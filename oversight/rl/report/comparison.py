"""The comparison of methods: winners at each level, label efficiency, and the verdict in words.

A method wins at a level if its 95% interval lies above those of all other methods.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, isnan, log
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from oversight.rl.report.results import LEVEL, UNOBSERVED
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
"""The method that is plain PPO on the rewards that it is shown."""


def is_oracle(method: str) -> bool:
    """Return whether a method is paid the true reward, so that it is an upper bound."""
    return method.startswith("oracle")


class Panel:
    """The results of one variation of a study.

    Attributes:
        name: the variation.
        rule: the selection rule that is used where no other is named.
        methods: in the order of the study.
        levels: the oversight probabilities, rising.

    Args:
        name: the variation.
        rows: of that variation, at most one for each rule of a run.
        rule: the selection rule.
    """

    def __init__(self, name: str, rows: pd.DataFrame, rule: str) -> None:
        self.name, self.rule, self.rows = name, rule, rows
        self.methods = tuple(rows["method"].unique().tolist())
        self.levels = tuple(sorted(rows[LEVEL].unique().tolist()))
        by_seed = rows.set_index("seed").sort_index()
        self._cells = dict(list(by_seed.groupby(["rule", "method", LEVEL])))
        self._empty = by_seed.iloc[:0]
        self._estimates: dict[tuple[str, float, str, str], Estimate] = {}

    @property
    def competitors(self) -> tuple[str, ...]:
        """The methods that are not paid the true reward."""
        return tuple(method for method in self.methods if not is_oracle(method))

    @property
    def oracle(self) -> str | None:
        """The upper bound of the others: `oracle`, or else the first oracle of the study."""
        oracles = [method for method in self.methods if is_oracle(method)]
        return "oracle" if "oracle" in oracles else next(iter(oracles), None)

    def cell(self, method: str, level: float, rule: str | None = None) -> pd.DataFrame:
        """Return the rows of a method at a level, by seed, rising."""
        return self._cells.get((rule or self.rule, method, level), self._empty)

    def sample(
        self, method: str, level: float, score: str = UNOBSERVED, rule: str | None = None
    ) -> Sample:
        """Return the known values of a score in a cell, one per seed, [seeds]."""
        known: Sample = self.cell(method, level, rule)[score].dropna().to_numpy()
        return known

    def pair(self, method: str, level: float, rules: tuple[str, str]) -> tuple[Sample, Sample]:
        """Return the returns in unobserved episodes under two rules, of the runs with both."""
        cells = [self.cell(method, level, rule)[UNOBSERVED] for rule in rules]
        both = pd.concat(cells, axis="columns", join="inner").dropna().to_numpy()
        return both[:, 0].copy(), both[:, 1].copy()

    def estimate(
        self, method: str, level: float, score: str = UNOBSERVED, rule: str | None = None
    ) -> Estimate:
        """Return the IQM of a cell with its interval."""
        key = (method, level, score, rule or self.rule)
        if key not in self._estimates:
            self._estimates[key] = interval([self.sample(*key)])
        return self._estimates[key]

    def ranked(self) -> tuple[str, ...]:
        """Return the competitors by their mean return over the levels they have, best first."""

        def mean(method: str) -> float:
            values = [self.estimate(method, level).value for level in self.levels]
            known = [value for value in values if not isnan(value)]
            return sum(known) / len(known) if known else -inf

        return tuple(sorted(self.competitors, key=mean, reverse=True))

    def measured(self, score: str = UNOBSERVED) -> tuple[float, ...]:
        """Return the levels at which a score is known of any method under the rule."""
        known = self.rows[(self.rows["rule"] == self.rule) & self.rows[score].notna()]
        return tuple(sorted(known[LEVEL].unique().tolist()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The standing of methods at one level.

    Attributes:
        level: the oversight probability.
        ranked: the methods with at least `MIN_SEEDS` seeds, the best first.
        winner: the best of several methods if its interval lies above all others.
        draw: the best method and those whose intervals reach its interval; empty if there are none.
        margin: the best method's return minus that of the next.
        few: the methods with too few seeds.
    """

    level: float
    ranked: tuple[str, ...]
    winner: str | None
    draw: tuple[str, ...]
    margin: Estimate
    few: tuple[str, ...]


def compare(
    panel: Panel, methods: Sequence[str], level: float, score: str = UNOBSERVED
) -> Comparison:
    """Return the standing of methods at one level."""
    estimates = {method: panel.estimate(method, level, score) for method in methods}
    known = [method for method in methods if estimates[method].seeds >= MIN_SEEDS]
    ranked = tuple(sorted(known, key=lambda method: -estimates[method].value))
    rivals = tuple(
        method for method in ranked[1:] if estimates[method].high >= estimates[ranked[0]].low
    )
    samples = [panel.sample(method, level, score) for method in ranked[:2]]
    return Comparison(
        level=level,
        ranked=ranked,
        winner=ranked[0] if len(ranked) > 1 and not rivals else None,
        draw=ranked[:1] + rivals if rivals else (),
        margin=difference(*samples) if len(samples) == 2 else UNKNOWN,
        few=tuple(method for method in methods if 0 < estimates[method].seeds < MIN_SEEDS),
    )


SHARE = 0.8
"""The share of the oracle's return at which label efficiency is measured."""
_BEYOND = 1.0  # a target that is never reached is put this many log episodes behind the last level


@dataclass(frozen=True, kw_only=True, slots=True)
class Efficiency:
    """The observed episodes that a method needs.

    Attributes:
        episodes: their number with its interval, not limited to the tested range.
        least: observed episodes at the lowest level of the study.
        most: observed episodes at the highest level.
    """

    episodes: Estimate
    least: float
    most: float

    def __str__(self) -> str:
        """Return a phrase, such as `1,200 (800 to 2,000)`."""
        value, low, high = map(self._bounded, self.episodes[:3])
        reached = self.episodes.known and not value.startswith("over")
        return f"{value} ({low} to {high})" if reached else value

    def _bounded(self, episodes: float) -> str:
        if episodes > self.most * 1.001:  # both ends went through a logarithm
            return f"over {self.most:,.0f}"
        if episodes < self.least * 1.001:
            return f"at most {self.least:,.0f}"
        return f"{episodes:,.0f}"


def label_efficiency(panel: Panel, method: str) -> Efficiency | None:
    """Return the observed episodes from which on a method has `SHARE` of the oracle's return.

    Both are compared at the same level, in unobserved episodes. Between two levels the share is
    taken to be linear in the logarithm of the episodes. None if fewer than two levels have both.
    """
    points = []
    for level in panel.measured() if panel.oracle is not None else ():
        episodes = panel.cell(method, level)["observed_episodes"].dropna().to_numpy(float)
        scores, bound = panel.sample(method, level), panel.sample(str(panel.oracle), level)
        if len(scores) and len(bound) and episodes.max(initial=0.0) > 0:
            points.append((log(float(episodes.mean())), scores, bound))
    if len(points) < 2:
        return None
    points.sort(key=lambda point: point[0])
    places, scores_at, bounds_at = zip(*points, strict=True)

    def crossing(*samples: Any, axis: int) -> Any:  # noqa: ANN401
        shares = [
            _share(iqm(score, axis), iqm(bound, axis))
            for score, bound in zip(samples[: len(points)], samples[len(points) :], strict=True)
        ]
        return first_crossing(np.stack(np.broadcast_arrays(*shares), axis=-1), places, SHARE)

    found = bootstrap([*scores_at, *bounds_at], crossing)
    episodes = Estimate(exp(found.value), exp(found.low), exp(found.high), found.seeds)
    return Efficiency(episodes=episodes, least=exp(places[0]), most=exp(places[-1]))


def first_crossing(
    values: NDArray[np.float64], places: Sequence[float], target: float
) -> NDArray[np.float64]:
    """Return the place at which values first reach a target, linear between places.

    Args:
        values: [..., places].
        places: rising, [places].
        target: the value to reach.

    Returns:
        The place, [...]: the first one if the first value reaches the target, and one unit behind
        the last if none does.

    >>> float(first_crossing(np.array([0.0, 1.0]), [2.0, 4.0], 0.5))
    3.0
    """
    x = np.asarray(places, dtype=float)
    reached = values >= target
    last = np.where(reached.any(axis=-1), reached.argmax(axis=-1), len(x) - 1)
    first = np.maximum(last - 1, 0)
    below = np.take_along_axis(values, first[..., None], axis=-1)[..., 0]
    above = np.take_along_axis(values, last[..., None], axis=-1)[..., 0]
    rise = np.where(above > below, above - below, 1.0)
    part = np.clip((target - below) / rise, 0.0, 1.0)
    place = x[first] + np.where(last > 0, part, 0.0) * (x[last] - x[first])
    crossed: NDArray[np.float64] = np.where(reached.any(axis=-1), place, x[-1] + _BEYOND)
    return crossed


def _share(score: Any, bound: Any) -> Any:  # noqa: ANN401
    """Return a score as a share of the oracle's, 0 where the oracle itself has no return."""
    return np.where(bound > 0, score / np.where(bound > 0, bound, 1.0), 0.0)


UNOBSERVED_EPISODES = "In unobserved episodes"


def verdict(panel: Panel) -> str:
    """Return which method has the highest true return in unobserved episodes, level by level."""
    levels = panel.measured()
    if not levels:
        return f"{UNOBSERVED_EPISODES}, nothing was measured: there is no verdict."
    compared = [compare(panel, panel.competitors, level) for level in levels]
    decided = [each for each in compared if len(each.ranked) > 1]
    if not decided:
        return _undecided(compared)
    clauses = [*_wins(decided, len(levels)), *_draws(decided, len(levels))]
    undecided = [each for each in compared if len(each.ranked) < 2]
    if undecided:
        clauses.append(f"{_at(undecided)} there are too few seeds or methods for a comparison")
    return f"{UNOBSERVED_EPISODES}, {'; '.join(clauses)}."


def early_stopping(panel: Panel, routed: str) -> str:
    """Return whether early stopping on observed episodes closes plain PPO's gap to a method."""
    for method in (PLAIN, routed):
        if method not in panel.methods:
            return f"The effect of early stopping is unknown: there are no runs of {method}."
    stopped = panel if panel.rule == "observed" else Panel(panel.name, panel.rows, "observed")
    pairs = [compare(stopped, (routed, PLAIN), level) for level in stopped.measured()]
    pairs = [pair for pair in pairs if len(pair.ranked) == 2]
    if not pairs:
        return (
            f"The effect of early stopping is unknown: at least {MIN_SEEDS} seeds of both {PLAIN} "
            f"and {routed} with checkpoints selected on observed episodes are needed."
        )
    clauses = []
    for name, other in ((routed, PLAIN), (PLAIN, routed)):
        won = [pair for pair in pairs if pair.winner == name]
        clauses += [f"{name} is ahead of {other} {_at(won)}, by {_least(won)}"] if won else []
    even = [pair for pair in pairs if pair.winner is None]
    clauses += [f"{routed} and {PLAIN} do not differ significantly {_at(even)}"] if even else []
    return f"With early stopping on observed episodes, {'; '.join(clauses)}."


def _wins(compared: Sequence[Comparison], levels: int) -> list[str]:
    """Return a clause for each winner, the most frequent one first."""
    winners = dict.fromkeys(each.winner for each in compared if each.winner is not None)
    won = {name: [each for each in compared if each.winner == name] for name in winners}
    return [
        f"{name} wins {'at every level' if len(own) == levels > 1 else _at(own)}, by {_least(own)}"
        for name, own in sorted(won.items(), key=lambda item: -len(item[1]))
    ]


def _draws(compared: Sequence[Comparison], levels: int) -> list[str]:
    """Return a clause for each method that is first in a draw."""
    clauses = []
    for first in dict.fromkeys(each.draw[0] for each in compared if each.draw):
        own = [each for each in compared if each.draw[:1] == (first,)]
        same = len({frozenset(each.draw) for each in own}) == 1 and len(own[0].draw) <= 3
        where = "at every level" if len(own) == levels > 1 else _at(own)
        between = f"between {listed(own[0].draw)}" if same else f"with {first} in front"
        clauses.append(f"{where} it is a draw {between}")
    return clauses


def _least(compared: Sequence[Comparison]) -> str:
    """Return the margin, or the smallest of several."""
    margin = min((each.margin for each in compared), key=lambda margin: margin.value)
    least = "" if len(compared) == 1 else "at least "
    ends = f"95% interval {margin.low:z.2f} to {margin.high:z.2f}"
    return f"{least}{margin.value:z.2f} ({ends})"


def _undecided(compared: Sequence[Comparison]) -> str:
    """Return the reason for which nothing can be compared: too few seeds or methods."""
    if any(each.few for each in compared):
        return (
            f"{UNOBSERVED_EPISODES}, there is no verdict: a comparison needs at least {MIN_SEEDS} "
            "seeds of each method."
        )
    alone = sorted({each.ranked[0] for each in compared if each.ranked})
    what = f"only {listed(alone)} was run" if alone else "only oracles were run"
    return (
        f"{UNOBSERVED_EPISODES}, there is no verdict: {what}, and a comparison needs two methods."
    )


def _at(compared: Iterable[Comparison]) -> str:
    return f"at p = {listed([f'{each.level:g}' for each in compared])}"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
