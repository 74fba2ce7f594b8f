"""Means, differences and ratios over seeds, with the intervals of `lm.attack.interval`."""

from collections.abc import Mapping, Sequence
from math import isfinite, nan

from lm.attack.interval import Estimate, interval

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
