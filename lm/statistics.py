"""An interval over seeds: the interquartile mean and its bootstrap interval.

The statistic of the reports on reinforcement learning (Agarwal et al. 2021, arXiv 2108.13264), to
the bit, by numpy alone, so that it needs nothing that only reports need.

Means, differences and ratios over seeds, with the intervals of `lm.statistics`.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 20_261_122


class Estimate(NamedTuple):
    """A value and its interval, which is NaN where a single seed leaves it unknown."""

    value: float
    """what the seeds say"""
    low: float
    """lower end of the interval"""
    high: float
    """upper end of the interval"""
    seeds: int
    """how many seeds there were"""


def interval(values: Sequence[float]) -> Estimate:
    """Return the IQM over seeds and its 95% interval, by percentiles of the bootstrap.

    For up to three seeds the IQM is the mean. All is NaN if one value is: a seed of which nothing
    is known is not left out.

    Args:
        values: one of each seed, such as savings or shares.

    Raises:
        ValueError: if there is no seed.

    >>> interval([0.5, 0.5, 0.5])
    Estimate(value=0.5, low=0.5, high=0.5, seeds=3)
    """
    count = len(values)
    if not count:
        raise ValueError("no values were given: give those of one or more seeds")
    sample = np.asarray(values, np.float64)
    if not all(map(isfinite, values)):
        return Estimate(nan, nan, nan, count)
    value = float(_iqm(sample))
    if count == 1:
        return Estimate(value, nan, nan, 1)
    drawn = np.random.default_rng(SEED).integers(0, count, (RESAMPLES, count))
    tails = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    low, high = np.percentile(_iqm(sample[drawn]), tails)
    return Estimate(value, float(low), float(high), count)


def _iqm(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the middle half along the last axis."""
    cut = scores.shape[-1] // 4
    means: NDArray[np.float64] = np.sort(scores)[..., cut : scores.shape[-1] - cut].mean(-1)
    return means


FEWEST = 3
"""Seeds below which a lead is not a finding."""


def estimate(values: Sequence[float]) -> Estimate:
    """Return what the seeds say of which something is known; NaN of no seed if it is of none.

    >>> estimate([1.0, 1.0, nan])
    Estimate(value=1.0, low=1.0, high=1.0, seeds=2)
    """
    known = [value for value in values if isfinite(value)]
    return interval(known) if known else Estimate(nan, nan, nan, 0)


def difference(one: Mapping[int, float], other: Mapping[int, float]) -> Estimate:
    """Return how far one lies above the other, seed by seed, over the seeds that both have.

    >>> difference({0: 3.0, 1: 4.0}, {1: 1.0, 2: 9.0}).value
    3.0
    """
    return estimate([one[seed] - other[seed] for seed in one if seed in other])


def ratio(one: Mapping[int, float], other: Mapping[int, float]) -> Estimate:
    """Return one as a multiple of the other, less 1, over the seeds that both have.

    >>> ratio({0: 3.0}, {0: 2.0}).value
    0.5
    """
    return estimate([one[seed] / other[seed] - 1 for seed in one if other.get(seed)])


def apart(lead: Estimate) -> bool:
    """Return whether enough seeds tell a difference from zero."""
    return lead.seeds >= FEWEST and (lead.low > 0 or lead.high < 0)
