"""Interquartile means, differences and probabilities of improvement, with bootstrap intervals.

The statistics are those of Agarwal et al. 2021 (arXiv 2108.13264). A sample is the scores of one
cell, one per seed. Several samples are strata: each is resampled within itself, and what comes out
is pooled. Every interval is of 95%, by percentiles, from a generator of its own: the same samples
give the same bits, whatever was computed before.
"""

from collections.abc import Callable, Sequence
from math import isnan, nan
from typing import Any, NamedTuple
import numpy as np
from numpy.typing import NDArray
from scipy import stats


Sample = NDArray[np.float64]
Statistic = Callable[..., Any]

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 20_261_122
_BATCH = 2_000  # resamples at a time, so that all pairs of 20 seeds fit into few megabytes


class Estimate(NamedTuple):
    """A value and its interval, which is NaN where a single seed leaves it unknown.

    Attributes:
        value: what the samples say.
        low: lower end of the interval.
        high: upper end of the interval.
        seeds: size of the smallest sample.
    """

    value: float
    low: float
    high: float
    seeds: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not isnan(self.low)


UNKNOWN = Estimate(nan, nan, nan, 0)


def iqm(scores: Any, axis: int = -1) -> Any:  # noqa: ANN401
    """Return the mean of the middle half: a quarter of the scores is cut off at either end.

    >>> float(iqm([0.0, 1.0, 3.0, 100.0]))
    2.0
    """
    return stats.trim_mean(scores, 0.25, axis=axis)


def interval(strata: Sequence[Sample]) -> Estimate:
    """Return the IQM of all samples pooled.

    >>> interval([np.array([0.5, 0.5, 0.5])])
    Estimate(value=0.5, low=0.5, high=0.5, seeds=3)
    """
    return bootstrap(strata, lambda *samples, axis: iqm(np.concatenate(samples, axis), axis))


def difference(one: Sample, other: Sample) -> Estimate:
    """Return the IQM of one sample less that of another, of other runs."""
    return bootstrap([one, other], _less)


def paired_difference(one: Sample, other: Sample) -> Estimate:
    """Return the IQM of one sample less that of another of the same runs, in the same order."""
    return bootstrap([one, other], _less, paired=True)


def improvement(ones: Sequence[Sample], others: Sequence[Sample]) -> Estimate:
    """Return the probability that a run of the one beats a run of the other, ties counting half.

    Args:
        ones: a sample of each stratum, say of each oversight level.
        others: the same of the other method, stratum by stratum; the strata weigh the same.
    """
    half = len(ones)

    def mean_over_strata(*samples: Any, axis: int) -> Any:  # noqa: ANN401
        pairs = zip(samples[:half], samples[half:], strict=True)
        return np.mean([_wins(one, other) for one, other in pairs], axis=0)

    return bootstrap([*ones, *others], mean_over_strata)


def bootstrap(samples: Sequence[Sample], statistic: Statistic, *, paired: bool = False) -> Estimate:
    """Return a statistic of samples, each resampled within itself, or all alike if paired."""
    seeds = min((len(sample) for sample in samples), default=0)
    if seeds == 0:
        return UNKNOWN
    value = float(statistic(*samples, axis=-1))
    if seeds == 1:
        return Estimate(value, nan, nan, 1)
    low, high = stats.bootstrap(
        samples,
        statistic,
        paired=paired,
        vectorized=True,
        axis=-1,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Estimate(value, float(low), float(high), seeds)


def _less(one: Any, other: Any, axis: int) -> Any:  # noqa: ANN401
    return iqm(one, axis) - iqm(other, axis)


def _wins(one: Any, other: Any) -> Any:  # noqa: ANN401
    """Return the share of pairs that the one wins; the scores of both lie on the last axis."""
    ahead = np.asarray(one)[..., :, None] - np.asarray(other)[..., None, :]
    return (0.5 + 0.5 * np.sign(ahead)).mean(axis=(-2, -1))
