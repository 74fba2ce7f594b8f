"""Label efficiency: how many observed episodes bring a method to 80% of the oracle."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oversight.reporting.panel import Panel
from oversight.reporting.statistics import Estimate, bootstrap, iqm

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
